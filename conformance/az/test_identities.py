"""az identity. Source: specs/az-cli-calls.md, 3.3; numbers: specs/azure-semantics.md, section 12."""

import pytest

from azure_cli import NOT_FOUND, REFUSED
from machines import machine_body

AUDIENCE = "api://AzureADTokenExchange"


@pytest.fixture
def identity(az, group, new_name):
    return az("identity", "create", "-g", group, "-n", new_name("identity"), "-l", "eastus")


@pytest.mark.short
def test_an_identity_is_made_and_made_again(subject, az, group, group_id, new_name):
    """1, 2"""
    name = new_name("identity")
    made = az("identity", "create", "-g", group, "-n", name)
    assert made["location"] == "eastus", "the group's"
    assert made["id"].lower() == f"{group_id}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{name}".lower()
    assert "/resourcegroups/" in made["id"], "as Azure writes it"
    assert (made["name"], made["type"]) == (name, "Microsoft.ManagedIdentity/userAssignedIdentities")
    assert (made["tags"], made["tenantId"], made["resourceGroup"]) == ({}, subject["tenantId"], group)
    assert made["principalId"] != made["clientId"]
    again = az("identity", "create", "-g", group, "-n", name, "--tags", "env=test")
    same = ("id", "location", "principalId", "clientId")
    assert [again[each] for each in same] == [made[each] for each in same]
    assert again["tags"] == {"env": "test"}
    assert az("identity", "show", "-g", group, "-n", name)["tags"] == {"env": "test"}


def test_its_principal_is_in_the_directory_at_once(az, identity):
    """2"""
    principal = az("ad", "sp", "show", "--id", identity["principalId"])
    assert (principal["appId"], principal["servicePrincipalType"]) == (identity["clientId"], "ManagedIdentity")
    assert principal["alternativeNames"] == ["isExplicit=True", identity["id"]]


def test_identities_are_listed_by_group_and_by_subscription(az, group, new_name, identity):
    other = new_name("group")
    az("group", "create", "-n", other, "-l", "eastus")
    elsewhere = az("identity", "create", "-g", other, "-n", "elsewhere")
    here = {each["id"] for each in az("identity", "list", "-g", group)}
    everywhere = {each["id"] for each in az("identity", "list")}
    assert identity["id"] in here and elsewhere["id"] not in here
    assert {identity["id"], elsewhere["id"]} <= everywhere
    az("group", "delete", "-n", other, "-y")


@pytest.mark.short
def test_a_deleted_identity_is_not_found_and_deleting_it_again_is_no_error(az, group, identity):
    """3, 6"""
    by_name = ("-g", group, "-n", identity["name"])
    az("identity", "delete", *by_name)
    az("identity", "delete", *by_name)
    refusal = az.fails("identity", "show", *by_name)
    assert (refusal.status, refusal.code) == (NOT_FOUND, "ResourceNotFound")
    assert f"Microsoft.ManagedIdentity/userAssignedIdentities/{identity['name']}" in refusal.message
    anew = az("identity", "create", *by_name)
    assert anew["principalId"] != identity["principalId"]
    assert anew["clientId"] != identity["clientId"]


def test_an_identity_stays_where_it_is(az, group, identity):
    """5"""
    refusal = az.fails("identity", "create", "-g", group, "-n", identity["name"], "-l", "westeurope")
    assert (refusal.status, refusal.code) == (REFUSED, "InvalidResourceLocation")
    assert "eastus" in refusal.message


@pytest.mark.parametrize("name", ["ab", "_leading", "a" * 129])
def test_a_name_that_breaks_the_rules_is_refused(az, group, name):
    """4"""
    refusal = az.fails("identity", "create", "-g", group, "-n", name)
    assert refusal.status == REFUSED
    assert refusal.code and refusal.message


def test_a_group_that_is_not_there_holds_no_identity(az):
    refusal = az.fails("identity", "create", "-g", "nowhere", "-n", "lost", "-l", "eastus")
    assert (refusal.status, refusal.code) == (NOT_FOUND, "ResourceGroupNotFound")


def test_an_isolation_scope_and_restrictions_are_kept(az, group, new_name):
    name = new_name("identity")
    made = az(
        *("identity", "create", "-g", group, "-n", name, "--isolation-scope", "Regional"),
        *("--resource-restriction", "providers=[Microsoft.Compute]"),
    )
    shown = az("identity", "show", "-g", group, "-n", name)
    for each in (made, shown):
        assert each["isolationScope"] == "Regional"
        assert each["assignmentRestrictions"]["providers"] == ["Microsoft.Compute"]


@pytest.mark.short
def test_the_resources_that_use_an_identity_are_listed(az, group, group_id, identity):
    """10"""
    assert az("identity", "list-resources", "-g", group, "-n", identity["name"]) == []
    machine = f"{group_id}/providers/Microsoft.Compute/virtualMachines/vm-of-{identity['name']}"
    body = machine_body(identity={"type": "UserAssigned", "userAssignedIdentities": {identity["id"]: {}}})
    az("rest", "--method", "put", "--url", f"{machine}?api-version=2024-07-01", "--body", body)
    (user,) = az("identity", "list-resources", "-g", group, "-n", identity["name"])
    assert user["id"].lower() == machine.lower()
    assert (user["name"], user["type"].lower()) == (machine.rsplit("/", 1)[1], "microsoft.compute/virtualmachines")
    assert user["resourceGroup"].lower() == group.lower()


def test_the_operations_of_the_provider_are_listed(az):
    names = {each["name"] for each in az("identity", "list-operations")}
    assert {
        "Microsoft.ManagedIdentity/userAssignedIdentities/read",
        "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action",
    } <= names


@pytest.mark.short
def test_a_federated_credential_is_made_changed_and_deleted(az, group, identity):
    """28"""
    command = ("identity", "federated-credential")
    where = ("-g", group, "--identity-name", identity["name"])
    stated = ("--issuer", "https://token.actions.githubusercontent.com", "--audiences", AUDIENCE)
    made = az(*command, "create", *where, "-n", "pipeline", "--subject", "repo:a/b:ref:refs/heads/main", *stated)
    assert (made["name"], made["audiences"]) == ("pipeline", [AUDIENCE])
    assert made["issuer"] == "https://token.actions.githubusercontent.com"
    assert made["subject"] == "repo:a/b:ref:refs/heads/main"
    assert made["id"].lower().startswith(identity["id"].lower() + "/federatedidentitycredentials/")
    assert az(*command, "show", *where, "-n", "pipeline") == made
    assert az(*command, "list", *where) == [made]
    changed = az(*command, "update", *where, "-n", "pipeline", "--subject", "repo:a/b:environment:production")
    assert changed["subject"] == "repo:a/b:environment:production"
    assert changed["issuer"] == made["issuer"]
    az(*command, "delete", *where, "-n", "pipeline", "-y")
    assert az(*command, "list", *where) == []
    assert az.fails(*command, "show", *where, "-n", "pipeline").status == NOT_FOUND


def test_an_issuer_and_subject_stand_once_under_one_identity(az, group, identity):
    """29"""
    command = ("identity", "federated-credential", "create", "-g", group, "--identity-name", identity["name"])
    stated = ("--issuer", "https://issuer.example", "--subject", "s", "--audiences", AUDIENCE)
    az(*command, "-n", "first", *stated)
    refusal = az.fails(*command, "-n", "second", *stated)
    assert refusal.status == REFUSED
    assert "Issuer and subject combination already exists" in refusal.message


def test_an_identity_may_be_attached_only_by_who_may_assign_it(az, reader, group, group_id, identity):
    """20"""
    principal = reader("account", "show")["user"]["name"]
    az(
        "role",
        "assignment",
        "create",
        "--assignee",
        principal,
        "--role",
        "Virtual Machine Contributor",
        "--scope",
        group_id,
    )
    body = machine_body(identity={"type": "UserAssigned", "userAssignedIdentities": {identity["id"]: {}}})
    machine = f"{group_id}/providers/Microsoft.Compute/virtualMachines/vm-by-reader?api-version=2024-07-01"
    refusal = reader.fails("rest", "--method", "put", "--url", machine, "--body", body)
    assert refusal.code == "LinkedAuthorizationFailed"
    assert "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action" in refusal.message
    az(
        *("role", "assignment", "create", "--assignee", principal, "--role", "Managed Identity Operator"),
        *("--scope", identity["id"]),
    )
    made = reader("rest", "--method", "put", "--url", machine, "--body", body)
    assert made["identity"]["type"] == "UserAssigned"
