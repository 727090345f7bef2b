"""az role: assignments and definitions, by names and by ids.

Source: specs/az-cli-calls.md, 3.6; numbers: specs/azure-semantics.md, section 12.
"""

import uuid

import pytest

from azure_cli import NOT_FOUND, REFUSED

READER = "acdd72a7-3385-48ef-bd42-f606fba81ae7"
SECRETS_USER = "4633458b-17de-408a-b874-0445c86b69e6"
NOBODY = "00000000-0000-0000-0000-00000000dead"


@pytest.fixture
def identity(az, group, new_name):
    return az("identity", "create", "-g", group, "-n", new_name("identity"))


def create(*more):
    return ("role", "assignment", "create", *more)


def by_object(identity):
    return ("--assignee-object-id", identity["principalId"], "--assignee-principal-type", "ServicePrincipal")


@pytest.mark.parametrize("role", ["Reader", READER], ids=["name", "id"])
@pytest.mark.short
def test_a_role_is_given_by_name_or_by_id(az, subscription, group_id, identity, role):
    made = az(*create("--role", role, "--scope", group_id, *by_object(identity), "--description", "a note"))
    assert (made["scope"], made["principalId"]) == (group_id, identity["principalId"])
    assert made["principalType"] == "ServicePrincipal"
    assert made["roleDefinitionId"] == f"{subscription}/providers/Microsoft.Authorization/roleDefinitions/{READER}"
    assert made["description"] == "a note"
    assert made["id"] == f"{group_id}/providers/Microsoft.Authorization/roleAssignments/{made['name']}"


def test_whom_it_is_given_to_is_found_in_the_directory(az, group_id, identity):
    made = az(*create("--role", "Reader", "--scope", group_id, "--assignee", identity["clientId"]))
    assert made["principalId"] == identity["principalId"]
    made = az(*create("--role", "Contributor", "--scope", group_id, "--assignee", identity["principalId"]))
    assert (made["principalId"], made["principalType"]) == (identity["principalId"], "ServicePrincipal")
    assert "Cannot find" in az.fails(*create("--role", "Reader", "--scope", group_id, "--assignee", NOBODY)).words


def test_without_a_principal_type_the_directory_says_it(az, group_id, identity):
    made = az(*create("--role", "Reader", "--scope", group_id, "--assignee-object-id", identity["principalId"]))
    assert made["principalType"] == "ServicePrincipal"


@pytest.mark.short
def test_assignments_are_listed_with_the_names_of_roles_and_principals(az, subscription, group_id, identity):
    given = az(*create("--role", "Reader", "--scope", group_id, *by_object(identity)))
    above = az(*create("--role", "Key Vault Reader", "--scope", subscription, *by_object(identity)))
    below = az(*create("--role", "Contributor", "--scope", identity["id"], *by_object(identity)))
    at = az("role", "assignment", "list", "--scope", group_id)
    (listed,) = (each for each in at if each["id"] == given["id"])
    assert (listed["roleDefinitionName"], listed["principalName"]) == ("Reader", identity["clientId"])
    assert above["id"] not in ids(at) and below["id"] not in ids(at)
    wide = az("role", "assignment", "list", "--scope", group_id, "--include-inherited")
    assert {given["id"], above["id"]} <= ids(wide)
    everything = az("role", "assignment", "list", "--all", "--assignee", identity["clientId"])
    assert ids(everything) == {given["id"], above["id"], below["id"]}
    one_role = ("--role", "Contributor", "--scope", identity["id"])
    by_role = az("role", "assignment", "list", "--assignee", identity["clientId"], *one_role)
    assert ids(by_role) == {below["id"]}
    in_group = az("role", "assignment", "list", "-g", group_id.rsplit("/", 1)[1])
    assert given["id"] in ids(in_group)
    plain = az(
        *("role", "assignment", "list", "--scope", group_id, "--fill-principal-name", "false"),
        *("--fill-role-definition-name", "false"),
    )
    assert given["id"] in ids(plain)


def ids(assignments):
    return {each["id"] for each in assignments}


def test_assignments_are_deleted_by_id_or_by_whom_they_concern(az, group_id, identity):
    one = az(*create("--role", "Reader", "--scope", group_id, *by_object(identity)))
    az("role", "assignment", "delete", "--ids", one["id"])
    az("role", "assignment", "delete", "--ids", one["id"])
    az(*create("--role", "Reader", "--scope", group_id, *by_object(identity)))
    az(*create("--role", "Contributor", "--scope", group_id, *by_object(identity)))
    az("role", "assignment", "delete", "--assignee", identity["clientId"], "--role", "Reader", "--scope", group_id)
    (left,) = az("role", "assignment", "list", "--assignee", identity["clientId"], "--scope", group_id)
    assert left["roleDefinitionName"] == "Contributor"
    az("role", "assignment", "delete", "--assignee", identity["clientId"], "--scope", group_id)
    assert az("role", "assignment", "list", "--assignee", identity["clientId"], "--scope", group_id) == []


def test_the_same_once_more_is_refused(az, group_id, identity):
    """43, 44; az itself takes a conflict for an assignment that is there already."""
    made = az(*create("--role", "Reader", "--scope", group_id, *by_object(identity)))
    answer = az.run(*create("--role", "Reader", "--scope", group_id, *by_object(identity)))
    assert "RoleAssignmentExists" in answer.words or answer.json()["id"] == made["id"]
    other = az.fails(
        *create("--role", "Contributor", "--scope", group_id, *by_object(identity), "--name", made["name"])
    )
    assert (other.status, other.code) == (REFUSED, "RoleAssignmentUpdateNotPermitted")


def test_a_principal_that_nobody_knows_is_refused_unless_it_is_said_to_be_new(az, group_id):
    """45"""
    unknown = str(uuid.uuid4())
    refusal = az.fails("rest", *putting(group_id, unknown))
    assert (refusal.status, refusal.code) == (REFUSED, "PrincipalNotFound")
    assert unknown.replace("-", "") in refusal.message
    made = az("rest", *putting(group_id, unknown, principalType="ServicePrincipal"))
    assert made["properties"]["principalId"] == unknown


def putting(scope, principal_id, **more):
    role = f"/subscriptions/{scope.split('/')[2]}/providers/Microsoft.Authorization/roleDefinitions/{READER}"
    more = "".join(f',"{name}":"{value}"' for name, value in more.items())
    url = f"{scope}/providers/Microsoft.Authorization/roleAssignments/{uuid.uuid4()}?api-version=2022-04-01"
    body = f'{{"properties":{{"roleDefinitionId":"{role}","principalId":"{principal_id}"{more}}}}}'
    return ("--method", "put", "--url", url, "--body", body)


def test_a_wrong_principal_type_is_refused(az, group_id, identity):
    """46"""
    kind = ("--assignee-object-id", identity["principalId"], "--assignee-principal-type", "Group")
    refusal = az.fails(*create("--role", "Reader", "--scope", group_id, *kind))
    assert (refusal.status, refusal.code) == (REFUSED, "UnmatchedPrincipalType")


def test_a_role_that_is_not_there_is_said_not_to_be(az, group_id, identity):
    refusal = az.fails(*create("--role", "No Such Role", "--scope", group_id, *by_object(identity)))
    assert "Role 'No Such Role' doesn't exist." in refusal.words


def test_a_condition_is_kept_and_a_broken_one_refused(az, group_id, identity):
    """50"""
    condition = (
        "((!(ActionMatches{'Microsoft.KeyVault/vaults/secrets/getSecret/action'})) OR "
        "(@Resource[Microsoft.KeyVault/vaults/secrets:name] StringEquals 'db'))"
    )
    made = az(
        *create("--role", SECRETS_USER, "--scope", group_id, *by_object(identity)),
        *("--condition", condition, "--condition-version", "2.0"),
    )
    assert (made["condition"], made["conditionVersion"]) == (condition, "2.0")
    refusal = az.fails(
        *create("--role", "Key Vault Secrets Officer", "--scope", group_id, *by_object(identity)),
        *("--condition", "((@Resource", "--condition-version", "2.0"),
    )
    assert refusal.status == REFUSED


def test_who_may_not_give_roles_hears_which_action_is_missing(az, reader, group_id, identity):
    """39, 54"""
    refusal = reader.fails(*create("--role", READER, "--scope", group_id, *by_object(identity)))
    assert (refusal.status, refusal.code) == (REFUSED, "AuthorizationFailed")
    assert "'Microsoft.Authorization/roleAssignments/write'" in refusal.message


def test_built_in_roles_are_found(az):
    """53"""
    (found,) = az("role", "definition", "list", "--name", "Managed Identity Operator")
    assert (found["roleType"], found["name"]) == ("BuiltInRole", "f1a07417-d97a-45cb-824c-7a7467783830")
    (permission,) = found["permissions"]
    assert "Microsoft.ManagedIdentity/userAssignedIdentities/*/assign/action" in permission["actions"]
    assert az("role", "definition", "list", "--name", READER)[0]["roleName"] == "Reader"
    assert len(az("role", "definition", "list", "--query", "[].name")) >= 900


@pytest.mark.short
def test_a_custom_role_is_made_changed_used_and_deleted(az, group_id, subscription, identity, new_name):
    """48"""
    name = new_name("Role")
    definition = {
        "Name": name,
        "Description": "Starts machines.",
        "Actions": ["Microsoft.Compute/virtualMachines/start/action"],
        "NotActions": [],
        "DataActions": [],
        "NotDataActions": [],
        "AssignableScopes": [subscription],
    }
    made = az("role", "definition", "create", "--role-definition", f"@{az.write('role.json', definition)}")
    assert (made["roleName"], made["roleType"]) == (name, "CustomRole")
    assert made["permissions"][0]["actions"] == definition["Actions"]
    assert [each["roleName"] for each in az("role", "definition", "list", "--name", name)] == [name]
    assert name in [each["roleName"] for each in az("role", "definition", "list", "--custom-role-only", "true")]
    definition["Actions"].append("Microsoft.Compute/virtualMachines/deallocate/action")
    changed = az("role", "definition", "update", "--role-definition", f"@{az.write('role.json', definition)}")
    assert (changed["name"], changed["permissions"][0]["actions"]) == (made["name"], definition["Actions"])
    given = az(*create("--role", name, "--scope", group_id, *by_object(identity)))
    refusal = az.fails("role", "definition", "delete", "--name", name)
    assert (refusal.status, refusal.code) == (REFUSED, "RoleDefinitionHasAssignments")
    az("role", "assignment", "delete", "--ids", given["id"])
    az("role", "definition", "delete", "--name", name)
    assert az("role", "definition", "list", "--name", name) == []


def test_a_group_of_the_directory_gives_its_roles_to_its_members(az, az_of, group, group_id, new_name):
    name = new_name("people")
    made = az("ad", "sp", "create-for-rbac", "-n", new_name("app"))
    principal_id = az("ad", "sp", "show", "--id", made["appId"])["id"]
    circle = az("ad", "group", "create", "--display-name", name, "--mail-nickname", name)
    az("ad", "group", "member", "add", "--group", circle["id"], "--member-id", principal_id)
    az(*create("--role", "Reader", "--scope", group_id, "--assignee", circle["id"]))
    assert az_of(made["appId"], made["password"])("group", "show", "-n", group)["name"] == group


def test_an_assignment_that_is_not_there_is_not_found(az, group_id):
    url = f"{group_id}/providers/Microsoft.Authorization/roleAssignments/{uuid.uuid4()}?api-version=2022-04-01"
    refusal = az.fails("rest", "--url", url)
    assert refusal.code == "RoleAssignmentNotFound"
    refusal = az.fails("role", "assignment", "delete", "--assignee", NOBODY, "--scope", group_id)
    assert refusal.status in (REFUSED, NOT_FOUND)
