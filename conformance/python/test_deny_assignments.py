"""Deny assignments: whom they bind, where, and what they say. Made as `az rest` makes them, read through the vendor's client.

Source: Microsoft Learn, "Deny Assignments" (REST, 2022-04-01 and 2024-07-01-preview); specs/azure-semantics.md, 3.5.
"""

import uuid

import pytest

from administration import DENIES, OWNER, SECRETS_USER, answered, assign, refused

EVERYONE = {"id": "00000000-0000-0000-0000-000000000000", "type": "SystemDefined"}
VAULT = "https://vault.azure.net"


def service_principal(principal_id):
    return {"id": principal_id, "type": "ServicePrincipal"}


@pytest.fixture
def deny(subject, arm):
    """Denies to everyone but the administrator and those who are excluded, until the test ends."""
    made = []

    def deny(scope, *excluded, principals=(EVERYONE,), below=True, **permission):
        others = [service_principal(each) for each in (subject["administrator"]["objectId"], *excluded)]
        properties = {
            "denyAssignmentName": f"deny-{uuid.uuid4()}",
            "description": "made by a test",
            "permissions": [permission],
            "principals": list(principals),
            "excludePrincipals": others if EVERYONE in principals else [],
            "doNotApplyToChildScopes": not below,
        }
        made.append(arm.must("PUT", f"{scope}/{DENIES}/{uuid.uuid4()}", {"properties": properties}))
        return made[-1]

    yield deny
    for each in made:
        arm.ask("DELETE", each["id"])


@pytest.fixture
def owner(subject, arm, group, workload):
    """A workload that owns the test's group."""
    someone = workload()
    assign(subject, arm, OWNER, someone.principal_id, group)
    return someone


def identity_below(group):
    return f"{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/below"


def put(who, path):
    return who.arm.ask("PUT", path, {"location": "eastus"})


def denied(who, action, scope, deny):
    """Source: specs/azure-semantics.md, 3.4."""
    return (
        403,
        "DenyAssignmentAuthorizationFailed",
        f"The client '{who.client_id}' with object id '{who.principal_id}' has permission to perform action '{action}' on"
        f" scope '{scope}'; however, the access is denied because of the deny assignment with name"
        f" '{deny['properties']['denyAssignmentName']}' and Id '{deny['name'].replace('-', '')}' at scope '{deny['properties']['scope']}'.",
    )


def test_a_deny_assignment_is_kept_as_it_was_made(subject, authorization, group, deny):
    made = deny(group, actions=["*/write"], notActions=["Microsoft.Compute/*"])
    found = authorization.deny_assignments.get(group, made["name"])
    assert found.id == made["id"] == f"{group}/{DENIES}/{made['name']}"
    assert found.deny_assignment_name == made["properties"]["denyAssignmentName"]
    assert found.permissions[0].actions == ["*/write"]
    assert found.permissions[0].not_actions == ["Microsoft.Compute/*"]
    assert [(each.id, each.type) for each in found.principals] == [(EVERYONE["id"], "SystemDefined")]
    assert [each.id for each in found.exclude_principals] == [subject["administrator"]["objectId"]]
    assert (found.do_not_apply_to_child_scopes, found.is_system_protected) == (False, False)
    by_name = f"denyAssignmentName eq '{found.deny_assignment_name}'"
    for filter in (None, "atScope()", by_name):
        assert made["id"] in {each.id for each in authorization.deny_assignments.list_for_scope(group, filter=filter)}


def test_a_deny_assignment_overrides_an_owner(arm, group, owner, deny):
    """49."""
    path = identity_below(group)
    assert put(owner, path).ok
    made = deny(group, actions=["*/write"])
    action = "Microsoft.ManagedIdentity/userAssignedIdentities/write"
    assert answered(put(owner, path)) == denied(owner, action, path, made)
    assert owner.arm.ask("GET", path).ok
    assert arm.ask("PUT", path, {"location": "eastus"}).ok
    arm.must("DELETE", made["id"])
    assert put(owner, path).ok


def test_excluded_principals_pass(subject, arm, group, owner, workload, deny):
    """49."""
    bound = workload()
    assign(subject, arm, OWNER, bound.principal_id, group)
    made = deny(group, owner.principal_id, actions=["*/write"])
    path = identity_below(group)
    assert put(owner, path).ok
    action = "Microsoft.ManagedIdentity/userAssignedIdentities/write"
    assert answered(put(bound, path)) == denied(bound, action, path, made)


def test_one_principal_can_be_denied_alone(subject, arm, group, owner, workload, deny):
    free = workload()
    assign(subject, arm, OWNER, free.principal_id, group)
    deny(group, principals=[service_principal(owner.principal_id)], actions=["*/write"])
    path = identity_below(group)
    assert put(free, path).ok
    assert put(owner, path).status_code == 403


def test_a_deny_assignment_can_stop_at_its_scope(group, owner, deny):
    """49."""
    made = deny(group, below=False, actions=["*/write"])
    assert put(owner, identity_below(group)).ok
    action = "Microsoft.Resources/subscriptions/resourceGroups/write"
    assert answered(put(owner, group)) == denied(owner, action, group, made)


def test_what_a_deny_assignment_takes_out_is_not_denied(group, owner, deny):
    deny(group, actions=["*/write"], notActions=["Microsoft.ManagedIdentity/*"])
    assert put(owner, identity_below(group)).ok
    assert put(owner, group).status_code == 403


def test_a_denied_data_action_closes_a_vault_that_a_role_opened(subject, arm, secret, workload, deny):
    vault, name = subject["vaults"]["granted"]["id"], secret(f"denied-{uuid.uuid4()}")
    bound, free = workload(), workload()
    for someone in (bound, free):
        assign(subject, arm, SECRETS_USER, someone.principal_id, vault)
    assert bound.read(name) == name[::-1]
    get = "Microsoft.KeyVault/vaults/secrets/getSecret/action"
    made = deny(vault, principals=[service_principal(bound.principal_id)], dataActions=[get])
    status, code, message = refused(bound.read, name)
    assert (status, code) == (403, "Forbidden")
    assert "DecisionReason: 'DeniedByDenyAssignment'" in message
    assert f"DenyAssignmentId: {made['name'].replace('-', '')}" in message.replace("'", "").replace("-", "")
    with bound.secrets() as secrets:
        assert list(secrets.list_properties_of_secrets())
    assert free.read(name) == name[::-1]
    arm.must("DELETE", made["id"])
    assert bound.read(name) == name[::-1]


@pytest.mark.parametrize(
    "principals",
    [[EVERYONE], [], [{"id": str(uuid.uuid4()), "type": "Group"}], [service_principal(str(uuid.uuid4()))] * 2],
    ids=["everyone without exception", "nobody", "a group", "two"],
)
def test_whom_a_deny_assignment_may_name(arm, group, principals):
    properties = {
        "denyAssignmentName": "refused",
        "permissions": [{"actions": ["*/write"]}],
        "principals": principals,
        "excludePrincipals": [],
    }
    answer = arm.ask("PUT", f"{group}/{DENIES}/{uuid.uuid4()}", {"properties": properties})
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["code"] == "InvalidCreateDenyAssignmentRequest"
