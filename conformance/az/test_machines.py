"""az vm: life of a machine, and its identities with every row of what az relies on in a PATCH.

Source: specs/az-cli-calls.md, 3.4; numbers: specs/azure-semantics.md, section 12.
"""

import pytest

from azure_cli import NOT_FOUND, REFUSED
from machines import Attached, held, machine_body, make

SYSTEM, USER, BOTH = "SystemAssigned", "UserAssigned", "SystemAssigned, UserAssigned"
ABSENT = (None, set(), None)


@pytest.fixture(scope="module")
def identities(az, group):
    return [az("identity", "create", "-g", group, "-n", f"identity-{each}")["id"].lower() for each in "xy"]


@pytest.fixture
def machine(az, group, group_id, new_name):
    """A machine without identities."""
    name = new_name("vm")
    make(az, group_id, "virtualMachines", name, machine_body())
    return name


@pytest.fixture
def attached(az, group, machine):
    return Attached(az, "vm", group, machine)


@pytest.mark.short
def test_a_machine_is_made_shown_listed_and_deleted(az, group, group_id, new_name):
    name = new_name("vm")
    made = make(az, group_id, "virtualMachines", name, machine_body(tags={"env": "test"}))
    assert (made["name"], made["type"]) == (name, "Microsoft.Compute/virtualMachines")
    shown = az("vm", "show", "-g", group, "-n", name)
    assert (shown["id"], shown["location"], shown["tags"]) == (made["id"], "eastus", {"env": "test"})
    assert shown["hardwareProfile"]["vmSize"] == "Standard_B1s"
    assert shown["provisioningState"] == "Succeeded"
    assert shown["vmId"]
    assert made["id"].lower() in [each["id"].lower() for each in az("vm", "list", "-g", group)]
    assert made["id"].lower() in [each["id"].lower() for each in az("vm", "list")]
    az("vm", "delete", "-g", group, "-n", name, "-y")
    refusal = az.fails("vm", "show", "-g", group, "-n", name)
    assert (refusal.status, refusal.code) == (NOT_FOUND, "ResourceNotFound")
    assert f"Microsoft.Compute/virtualMachines/{name}" in refusal.message


def test_a_machine_runs_until_it_is_deallocated(az, group, machine):
    """26"""
    where = ("-g", group, "-n", machine)
    principal = az("vm", "identity", "assign", *where)["systemAssignedIdentity"]
    assert az("vm", "show", "-d", *where)["powerState"] == "VM running"
    az("vm", "deallocate", *where)
    assert az("vm", "show", "-d", *where)["powerState"] == "VM deallocated"
    view = az("vm", "get-instance-view", *where)
    codes = {each["code"] for each in view["instanceView"]["statuses"]}
    assert "PowerState/deallocated" in codes
    assert az("vm", "list", "-g", group, "-d", "--query", f"[?name=='{machine}'].powerState") == ["VM deallocated"]
    az("vm", "start", *where)
    az("vm", "restart", *where)
    az("vm", "stop", *where)
    assert az("vm", "show", "-d", *where)["powerState"] == "VM stopped"
    az("vm", "start", *where)
    assert az("vm", "show", "-d", *where)["powerState"] == "VM running"
    assert az("vm", "identity", "show", *where)["principalId"] == principal


def test_a_machine_without_an_identity_shows_none(attached):
    assert attached.az("vm", "identity", "show", *attached.where) is None
    assert attached.remove() is None


@pytest.mark.short
def test_none_then_system(subject, attached):
    answer = attached.assign()
    assert (answer["systemAssignedIdentity"], answer["userAssignedIdentities"]) == (attached.shown()[2], {})
    shown = attached.az("vm", "identity", "show", *attached.where)
    assert (shown["type"], shown["tenantId"]) == (SYSTEM, subject["tenantId"])


@pytest.mark.short
def test_system_then_a_user_assigned_one_beside_it(attached, identities):
    """23"""
    x, _ = identities
    principal = attached.assign()["systemAssignedIdentity"]
    attached.assign(x)
    assert attached.shown() == (BOTH, {x}, principal)


def test_another_user_assigned_one_leaves_those_that_are_there(attached, identities):
    """14"""
    x, y = identities
    attached.assign("[system]", x)
    kind, ids, principal = attached.shown()
    attached.assign(y)
    assert attached.shown() == (BOTH, {x, y}, principal)
    assert (kind, ids) == (BOTH, {x})


@pytest.mark.short
def test_one_of_two_is_removed(attached, identities):
    """15"""
    x, y = identities
    attached.assign("[system]", x, y)
    principal = attached.shown()[2]
    attached.remove(x)
    assert attached.shown() == (BOTH, {y}, principal)


@pytest.mark.short
def test_the_last_user_assigned_one_is_removed_and_system_stays(attached, identities):
    """16"""
    x, _ = identities
    attached.assign("[system]", x)
    principal = attached.shown()[2]
    attached.remove(x)
    assert attached.shown() == (SYSTEM, set(), principal)


@pytest.mark.short
def test_system_is_removed_and_the_user_assigned_one_stays(az, attached, identities):
    _, y = identities
    attached.assign("[system]", y)
    principal = attached.shown()[2]
    attached.remove("[system]")
    assert attached.shown() == (USER, {y}, None)
    assert az.fails("ad", "sp", "show", "--id", principal).status == NOT_FOUND


@pytest.mark.short
def test_the_only_user_assigned_one_is_removed(attached, identities):
    _, y = identities
    attached.assign(y)
    assert attached.shown() == (USER, {y}, None)
    attached.remove(y)
    assert attached.shown() == ABSENT


@pytest.mark.short
def test_system_alone_is_removed_and_comes_back_as_another(attached):
    """17"""
    before = attached.assign()["systemAssignedIdentity"]
    attached.remove()
    assert attached.shown() == ABSENT
    assert attached.assign()["systemAssignedIdentity"] != before


def test_an_identity_is_named_by_its_name_in_the_same_group(attached, identities):
    attached.assign("identity-x")
    assert attached.shown() == (USER, {identities[0]}, None)


def test_ids_that_differ_in_case_are_the_same_identity(attached, identities):
    """24"""
    x, _ = identities
    attached.assign(x)
    attached.assign(x.upper().replace("/SUBSCRIPTIONS/", "/subscriptions/"))
    assert attached.shown() == (USER, {x}, None)


@pytest.mark.short
def test_an_unknown_identity_is_refused(attached):
    """19"""
    refusal = attached.az.fails("vm", "identity", "assign", *attached.where, "--identities", "nobody")
    assert (refusal.status, refusal.code) == (REFUSED, "FailedIdentityOperation")
    assert "nobody" in refusal.message and "was not found" in refusal.message
    assert attached.shown() == ABSENT


def test_a_machine_that_is_not_there_has_no_identity(az, group):
    for verb in ("assign", "show", "remove"):
        refusal = az.fails("vm", "identity", verb, "-g", group, "-n", "no-machine")
        assert (refusal.status, refusal.code) == (NOT_FOUND, "ResourceNotFound")


def test_a_role_is_given_along_with_the_identity(az, attached, group_id):
    answer = attached.assign(more=("--role", "Reader", "--scope", group_id))
    assert (answer["role"], answer["scope"]) == ("Reader", group_id)
    (given,) = az("role", "assignment", "list", "--assignee", answer["systemAssignedIdentity"], "--scope", group_id)
    assert (given["roleDefinitionName"], given["principalType"]) == ("Reader", "ServicePrincipal")


def test_a_wrong_block_is_refused_in_azures_words(az, group_id, new_name, identities):
    """13, 18"""
    for block, words in (
        ({"userAssignedIdentities": {identities[0]: {}}}, "type"),
        ({"type": "None", "userAssignedIdentities": {identities[0]: {}}}, "non-UserAssigned identity type"),
    ):
        url = f"{group_id}/providers/Microsoft.Compute/virtualMachines/{new_name('vm')}?api-version=2024-07-01"
        refusal = az.fails("rest", "--method", "put", "--url", url, "--body", machine_body(identity=block))
        assert refusal.status == REFUSED
        assert words in refusal.words


def test_an_identity_of_another_region_that_is_isolated_is_refused(az, group, attached):
    """8"""
    where = ("-g", group, "-n", "far-away")
    az("identity", "create", *where, "-l", "westeurope", "--isolation-scope", "Regional")
    refusal = az.fails("vm", "identity", "assign", *attached.where, "--identities", "far-away")
    assert (refusal.status, refusal.code) == (REFUSED, "FailedIdentityOperation")


def test_an_identity_for_other_providers_is_refused(az, group, attached):
    """9"""
    where = ("-g", group, "-n", "for-sites")
    az("identity", "create", *where, "--resource-restriction", "providers=[microsoft.web]")
    refusal = az.fails("vm", "identity", "assign", *attached.where, "--identities", "for-sites")
    assert (refusal.status, refusal.code) == (REFUSED, "FailedIdentityOperation")


def test_a_generic_update_keeps_the_identity(az, attached, identities):
    """`az vm update` reads the machine and writes all of it back."""
    attached.assign("[system]", identities[0])
    before = attached.shown()
    changed = az("vm", "update", *attached.where, "--set", "hardwareProfile.vmSize=Standard_B2s")
    assert changed["hardwareProfile"]["vmSize"] == "Standard_B2s"
    assert held(changed["identity"]) == before


def test_a_deleted_machine_takes_its_own_principal_along(az, attached, identities):
    """25"""
    attached.assign("[system]", identities[0])
    principal = attached.shown()[2]
    az("vm", "delete", *attached.where, "-y")
    assert az.fails("ad", "sp", "show", "--id", principal).status == NOT_FOUND
    assert az("identity", "show", "--ids", identities[0])["principalId"]
