"""az vmss: the same of a scale set. Source: specs/az-cli-calls.md, 3.4."""

import pytest

from azure_cli import NOT_FOUND, REFUSED
from machines import Attached, make, scale_set_body

SYSTEM, USER, BOTH = "SystemAssigned", "UserAssigned", "SystemAssigned, UserAssigned"
ABSENT = (None, set(), None)


@pytest.fixture(scope="module")
def identities(az, group):
    return [az("identity", "create", "-g", group, "-n", f"identity-{each}")["id"].lower() for each in "xy"]


@pytest.fixture
def scale_set(az, group, group_id, new_name):
    name = new_name("set")
    make(az, group_id, "virtualMachineScaleSets", name, scale_set_body(2))
    return Attached(az, "vmss", group, name)


def test_a_set_is_shown_and_listed_with_its_instances(az, group, scale_set):
    shown = az("vmss", "show", *scale_set.where)
    assert (shown["sku"]["capacity"], shown["provisioningState"]) == (2, "Succeeded")
    assert shown["name"] in [each["name"] for each in az("vmss", "list", "-g", group)]
    assert shown["name"] in [each["name"] for each in az("vmss", "list")]
    instances = az("vmss", "list-instances", *scale_set.where)
    assert [each["instanceId"] for each in instances] == ["0", "1"]
    az("vmss", "delete", *scale_set.where)
    assert az.fails("vmss", "show", *scale_set.where).status == NOT_FOUND


def test_a_set_is_scaled(az, scale_set):
    az("vmss", "scale", *scale_set.where, "--new-capacity", "3")
    assert len(az("vmss", "list-instances", *scale_set.where)) == 3
    az("vmss", "scale", *scale_set.where, "--new-capacity", "1")
    assert len(az("vmss", "list-instances", *scale_set.where)) == 1


def test_a_set_without_an_identity_shows_none(scale_set):
    assert scale_set.shown() == ABSENT


@pytest.mark.short
def test_none_then_system_then_a_user_assigned_one(scale_set, identities):
    x, _ = identities
    principal = scale_set.assign()["systemAssignedIdentity"]
    assert scale_set.shown() == (SYSTEM, set(), principal)
    scale_set.assign(x)
    assert scale_set.shown() == (BOTH, {x}, principal)


@pytest.mark.short
def test_one_of_two_is_removed_then_the_last(scale_set, identities):
    x, y = identities
    scale_set.assign("[system]", x, y)
    principal = scale_set.shown()[2]
    scale_set.remove(x)
    assert scale_set.shown() == (BOTH, {y}, principal)
    scale_set.remove(y)
    assert scale_set.shown() == (SYSTEM, set(), principal)


def test_system_is_removed_and_the_user_assigned_one_stays(scale_set, identities):
    _, y = identities
    scale_set.assign("[system]", y)
    scale_set.remove("[system]")
    assert scale_set.shown() == (USER, {y}, None)
    scale_set.remove(y)
    assert scale_set.shown() == ABSENT


def test_system_alone_is_removed_and_comes_back_as_another(scale_set):
    before = scale_set.assign()["systemAssignedIdentity"]
    scale_set.remove()
    assert scale_set.shown() == ABSENT
    assert scale_set.assign()["systemAssignedIdentity"] != before


def test_an_unknown_identity_is_refused(scale_set):
    refusal = scale_set.az.fails("vmss", "identity", "assign", *scale_set.where, "--identities", "nobody")
    assert (refusal.status, refusal.code) == (REFUSED, "FailedIdentityOperation")
    assert "nobody" in refusal.message
    assert scale_set.shown() == ABSENT


def test_a_role_is_given_along_with_the_identity(az, scale_set, group_id):
    answer = scale_set.assign(more=("--role", "Reader", "--scope", group_id))
    (given,) = az("role", "assignment", "list", "--assignee", answer["systemAssignedIdentity"], "--scope", group_id)
    assert (given["roleDefinitionName"], given["principalType"]) == ("Reader", "ServicePrincipal")


def test_a_set_that_is_not_there_is_not_found(az, group):
    for command in (("show",), ("identity", "show"), ("identity", "assign")):
        assert az.fails("vmss", *command, "-g", group, "-n", "no-set").status == NOT_FOUND
