"""az webapp and az functionapp: the identities of sites and of their slots, which a PUT replaces as a whole.

Source: specs/az-cli-calls.md, 3.7.
"""

import json

import pytest

from azure_cli import NOT_FOUND, REFUSED
from machines import held

SYSTEM, USER, BOTH = "SystemAssigned", "UserAssigned", "SystemAssigned, UserAssigned"
ABSENT = (None, set(), None)
VERSION = "2025-05-01"


@pytest.fixture(scope="module")
def identities(az, group):
    return [az("identity", "create", "-g", group, "-n", f"identity-{each}")["id"].lower() for each in "xy"]


@pytest.fixture(params=["webapp", "functionapp"])
def site(request, az, group, group_id, new_name):
    """A site without identities: the command for its kind, and the words that name it."""
    name = new_name("site")
    kind = {"webapp": "app,linux", "functionapp": "functionapp,linux"}[request.param]
    make(az, f"{group_id}/providers/Microsoft.Web/sites/{name}", kind)
    return request.param, ("-g", group, "-n", name)


def make(az, path, kind):
    plan = f"{path.split('/sites/')[0]}/serverfarms/plan"
    body = json.dumps({"location": "eastus", "kind": kind, "properties": {"serverFarmId": plan}})
    return az("rest", "--method", "put", "--url", f"{path}?api-version={VERSION}", "--body", body)


def shown(az, command, where):
    return held(az(command, "identity", "show", *where))


def test_a_site_is_shown(az, group, group_id, new_name):
    name = new_name("site")
    make(az, f"{group_id}/providers/Microsoft.Web/sites/{name}", "app,linux")
    site = az("webapp", "show", "-g", group, "-n", name)
    assert (site["name"], site["kind"], site["location"]) == (name, "app,linux", "eastus")
    assert site["type"] == "Microsoft.Web/sites"
    assert name in [each["name"] for each in az("webapp", "list", "-g", group)]


@pytest.mark.short
def test_identities_come_and_go(az, site, identities):
    command, where = site
    x, y = identities
    assert shown(az, command, where) == ABSENT
    principal = az(command, "identity", "assign", *where)["principalId"]
    assert shown(az, command, where) == (SYSTEM, set(), principal)
    az(command, "identity", "assign", *where, "--identities", x, y)
    assert shown(az, command, where) == (BOTH, {x, y}, principal)
    az(command, "identity", "remove", *where, "--identities", x)
    assert shown(az, command, where) == (BOTH, {y}, principal)
    az(command, "identity", "remove", *where)
    assert shown(az, command, where) == (USER, {y}, None)
    az(command, "identity", "remove", *where, "--identities", y)
    assert shown(az, command, where) == ABSENT


def test_a_role_is_given_along_with_the_identity(az, site, group_id):
    command, where = site
    answer = az(command, "identity", "assign", *where, "--role", "Reader", "--scope", group_id)
    (given,) = az("role", "assignment", "list", "--assignee", answer["principalId"], "--scope", group_id)
    assert given["roleDefinitionName"] == "Reader"


def test_a_slot_has_identities_of_its_own(az, group, group_id, new_name, identities):
    name = new_name("site")
    path = f"{group_id}/providers/Microsoft.Web/sites/{name}"
    make(az, path, "app,linux")
    make(az, f"{path}/slots/staging", "app,linux")
    where, slot = ("-g", group, "-n", name), ("-g", group, "-n", name, "--slot", "staging")
    principal = az("webapp", "identity", "assign", *slot)["principalId"]
    assert shown(az, "webapp", where) == ABSENT
    assert shown(az, "webapp", slot) == (SYSTEM, set(), principal)
    own = az("webapp", "identity", "assign", *where)["principalId"]
    assert own != principal
    az("webapp", "identity", "assign", *slot, "--identities", identities[0])
    assert shown(az, "webapp", slot) == (BOTH, {identities[0]}, principal)
    assert [each["name"] for each in az("webapp", "deployment", "slot", "list", *where)] == ["staging"]


def test_an_unknown_identity_is_refused(az, site, group_id):
    command, where = site
    nobody = f"{group_id}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/nobody"
    refusal = az.fails(command, "identity", "assign", *where, "--identities", nobody)
    assert refusal.status == REFUSED
    assert "nobody" in refusal.words
    assert shown(az, command, where) == ABSENT


def test_a_site_that_is_not_there_is_not_found(az, group):
    assert az.fails("webapp", "show", "-g", group, "-n", "no-such-site").status == NOT_FOUND
    assert az.fails("webapp", "identity", "show", "-g", group, "-n", "no-such-site").status == NOT_FOUND
