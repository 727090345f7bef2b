"""Role definitions through the vendor's client: the built-in ones, and custom ones from their making to their end.

Source: Microsoft Learn, "Role Definitions" (REST, 2022-04-01); texts: specs/azure-semantics.md, 3.4.
"""

import uuid

import pytest
from azure.mgmt.authorization.models import Permission, RoleDefinition

from administration import DEFINITIONS, READER, SECRETS_USER, answered, assign, not_authorized, refused

BUILT_IN = {
    "Owner": "8e3af657-a8ff-443c-a75c-2fe8c4bcb635",
    "Contributor": "b24988ac-6180-42a0-ab88-20f7382dd24c",
    "Reader": READER,
    "User Access Administrator": "18d7d88d-d35e-4fb5-a5c3-7773c20a72d9",
    "Role Based Access Control Administrator": "f58310d9-a9f6-439a-9e8d-f62e7b41a168",
    "Managed Identity Operator": "f1a07417-d97a-45cb-824c-7a7467783830",
    "Key Vault Secrets User": SECRETS_USER,
    "Key Vault Data Access Administrator": "8b54135c-b56d-4d72-a534-26097cfdc8d8",
    "Storage Blob Data Reader": "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1",
    "AcrPull": "7f951dda-4ed3-4680-a7ca-43fe172d538d",
}


@pytest.fixture
def make(authorization, group):
    """Makes custom roles that are assignable in the test's group, and deletes them."""
    made = []

    def make(role_name=None, role=None, scopes=None, **permission):
        role, scopes = role or str(uuid.uuid4()), scopes or [group]
        definition = RoleDefinition(
            role_name=role_name or f"role-{role}",
            description="made by a test",
            permissions=[Permission(**(permission or {"actions": ["Microsoft.Compute/virtualMachines/read"]}))],
            assignable_scopes=scopes,
        )
        definition.role_type = "CustomRole"
        created = authorization.role_definitions.create_or_update(scopes[0], role, definition)
        made.append(created)
        return created

    yield make
    for role in made:
        for scope in role.assignable_scopes:
            for given in authorization.role_assignments.list_for_scope(scope):
                if given.role_definition_id.endswith(role.name):
                    authorization.role_assignments.delete_by_id(given.id)
        authorization.role_definitions.delete(role.assignable_scopes[0], role.name)


def test_the_built_in_roles_are_there(authorization, group):
    """53."""
    listed = {role.role_name: role for role in authorization.role_definitions.list(group)}
    assert {name: listed[name].name for name in BUILT_IN} == BUILT_IN
    assert len(listed) >= 900
    assert {listed[name].role_type for name in BUILT_IN} == {"BuiltInRole"}
    assert listed["Owner"].assignable_scopes == ["/"]
    assert [permission.actions for permission in listed["Owner"].permissions] == [["*"]]


@pytest.mark.parametrize("name", ["Key Vault Secrets User", "key vault secrets user"])
def test_a_role_is_found_by_its_name(subject, authorization, group, name):
    (found,) = authorization.role_definitions.list(group, filter=f"roleName eq '{name}'")
    assert found.name == SECRETS_USER
    assert found.id == f"/subscriptions/{subject['subscriptionId']}/{DEFINITIONS}/{SECRETS_USER}"
    (permission,) = found.permissions
    assert "Microsoft.KeyVault/vaults/secrets/getSecret/action" in permission.data_actions


def test_a_role_is_found_by_its_id(subject, authorization, group):
    for found in (
        authorization.role_definitions.get(group, SECRETS_USER),
        authorization.role_definitions.get_by_id(f"/subscriptions/{subject['subscriptionId']}/{DEFINITIONS}/{SECRETS_USER}"),
    ):
        assert found.role_name == "Key Vault Secrets User"


def test_an_unknown_role_is_not_found(authorization, group):
    unknown = str(uuid.uuid4())
    message = f"The specified role definition with ID '{unknown}' does not exist."
    wanted = (404, "RoleDefinitionDoesNotExist", message)
    assert refused(authorization.role_definitions.get, group, unknown) == wanted


def test_a_custom_role_is_kept_as_it_was_made(subject, authorization, group, make):
    made = make(actions=["Microsoft.Compute/*/read"], not_actions=["Microsoft.Compute/disks/read"])
    found = authorization.role_definitions.get(group, made.name)
    assert found.as_dict() == made.as_dict()
    assert (found.role_type, found.assignable_scopes) == ("CustomRole", [group])
    assert found.created_by == found.updated_by == subject["administrator"]["objectId"]
    (permission,) = found.permissions
    assert permission.actions == ["Microsoft.Compute/*/read"]
    assert permission.not_actions == ["Microsoft.Compute/disks/read"]
    custom = authorization.role_definitions.list(group, filter="type eq 'CustomRole'")
    assert made.name in {role.name for role in custom}


def test_a_custom_role_is_changed_under_its_own_name(authorization, group, make):
    made = make()
    changed = make(role_name=f"{made.role_name}-changed", role=made.name, actions=["Microsoft.Compute/virtualMachines/write"])
    assert (changed.id, changed.created_on) == (made.id, made.created_on)
    found = authorization.role_definitions.get(group, made.name)
    assert found.role_name == f"{made.role_name}-changed"
    assert found.permissions[0].actions == ["Microsoft.Compute/virtualMachines/write"]


def test_a_changed_role_counts_at_the_next_request(subject, arm, group, make, workload):
    someone, made = workload(), make(actions=["Microsoft.Compute/virtualMachines/read"])
    assign(subject, arm, made.name, someone.principal_id, group)
    action = "Microsoft.Resources/subscriptions/resourceGroups/read"
    assert answered(someone.arm.ask("GET", group)) == not_authorized(someone, action, group)
    make(role=made.name, role_name=made.role_name, actions=["Microsoft.Resources/subscriptions/resourceGroups/read"])
    assert someone.arm.ask("GET", group).status_code == 200
    make(role=made.name, role_name=made.role_name, actions=["Microsoft.Compute/virtualMachines/read"])
    assert someone.arm.ask("GET", group).status_code == 403


@pytest.mark.parametrize("spelling", [str.lower, str.upper])
def test_two_roles_of_one_name_are_refused(make, spelling):
    made = make()
    assert refused(make, role_name=spelling(made.role_name)) == (
        409,
        "RoleDefinitionWithSameNameExists",
        "A custom role with the same name already exists in this directory. Use a different name",
    )


def test_a_role_cannot_be_made_assignable_at_the_root(subject, arm, make):
    body = {"properties": {"roleName": f"r-{uuid.uuid4()}", "permissions": [{"actions": ["*/read"]}], "assignableScopes": ["/"]}}
    answer = arm.ask("PUT", f"/subscriptions/{subject['subscriptionId']}/{DEFINITIONS}/{uuid.uuid4()}", body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["code"] == "InvalidAssignableScopes"


def test_a_role_cannot_be_given_where_it_is_not_assignable(subject, arm, make, workload):
    made, someone = make(), workload()
    given = {"roleDefinitionId": made.id, "principalId": someone.principal_id}
    path = f"{subject['resourceGroup']}/providers/Microsoft.Authorization/roleAssignments/{uuid.uuid4()}"
    answer = arm.ask("PUT", path, {"properties": given})
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["code"] == "ScopeDoesNotMatchRoleDefinition"


def test_an_action_that_nobody_has_is_refused(make):
    status, code, message = refused(make, actions=["Microsoft.KeyVault/vaults/colour/action"])
    assert (status, code) == (400, "InvalidActionOrNotAction")
    assert message == "'Microsoft.KeyVault/vaults/colour/action' does not match any of the actions supported by the providers."


@pytest.mark.parametrize("pattern", ["", "nonsense"])
def test_a_pattern_that_names_no_provider_is_refused(make, pattern):
    assert refused(make, actions=[pattern])[:2] == (400, "InvalidActionOrNotAction")


def test_a_used_role_cannot_be_deleted(subject, authorization, arm, group, make, workload):
    """48."""
    made = make()
    given = assign(subject, arm, made.name, workload().principal_id, group)
    assert refused(authorization.role_definitions.delete, group, made.name) == (
        400,
        "RoleDefinitionHasAssignments",
        "There are existing role assignments referencing role (code: RoleDefinitionHasAssignments)",
    )
    arm.must("DELETE", given["id"])
    path = f"{group}/{DEFINITIONS}/{made.name}"
    deleted = arm.ask("DELETE", path)
    assert (deleted.status_code, deleted.json()["name"]) == (200, made.name)
    assert arm.ask("DELETE", path).status_code == 204


def test_what_a_role_takes_out_another_role_may_give(subject, arm, group, make, workload):
    """40. `notActions` is a subtraction within one role."""
    someone = workload()
    less = make(actions=["Microsoft.Resources/*"], not_actions=["Microsoft.Resources/subscriptions/resourceGroups/read"])
    assign(subject, arm, less.name, someone.principal_id, group)
    assert someone.arm.ask("GET", group).status_code == 403
    assign(subject, arm, READER, someone.principal_id, group)
    assert someone.arm.ask("GET", group).status_code == 200


def test_data_actions_open_a_vault_and_actions_do_not(subject, arm, secret, make, workload):
    vault = subject["vaults"]["granted"]["id"]
    name = secret(f"data-{uuid.uuid4()}")
    control, data = workload(), workload()
    everything = make(scopes=[subject["resourceGroup"]], actions=["*"])
    one = make(scopes=[subject["resourceGroup"]], actions=[], data_actions=["Microsoft.KeyVault/vaults/secrets/getSecret/action"])
    assign(subject, arm, everything.name, control.principal_id, vault)
    assign(subject, arm, one.name, data.principal_id, vault)
    assert data.read(name) == name[::-1]
    assert refused(control.read, name)[:2] == (403, "Forbidden")
    assert control.arm.ask("GET", vault).status_code == 200
    assert data.arm.ask("GET", vault).status_code == 403
