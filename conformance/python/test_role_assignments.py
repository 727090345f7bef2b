"""Role assignments through the vendor's client: made, found, refused, taken away, and what they are good for at once.

Source: Microsoft Learn, "Role Assignments" (REST, 2022-04-01); texts: specs/azure-semantics.md, 3.4.
"""

import re
import uuid

import pytest
from azure.mgmt.authorization.models import RoleAssignmentCreateParameters

from administration import (
    ASSIGNMENTS,
    CONTRIBUTOR,
    KEY_VAULT_READER,
    READER,
    SECRETS_USER,
    answered,
    assign,
    not_authorized,
    refused,
    role_id,
)

NOT_PERMITTED = (
    400,
    "RoleAssignmentUpdateNotPermitted",
    "Tenant ID, application ID, principal ID, and scope are not allowed to be updated.",
)


@pytest.fixture
def give(subject, authorization):
    """Gives a role through the vendor's client, which says `User` unless it is told something else."""

    def give(role, principal_id, scope, name=None, principal_type=None, **more):
        wanted = RoleAssignmentCreateParameters(
            role_definition_id=role_id(subject, role), principal_id=principal_id, principal_type=principal_type, **more
        )
        return authorization.role_assignments.create(scope, name or str(uuid.uuid4()), wanted)

    return give


def test_an_assignment_is_kept_as_it_was_made(subject, authorization, group, workload, give):
    someone = workload()
    made = give(READER, someone.principal_id, group, description="a note")
    assert made.id == f"{group}/{ASSIGNMENTS}/{made.name}"
    assert (made.scope, made.principal_id, made.principal_type) == (group, someone.principal_id, "ServicePrincipal")
    assert made.role_definition_id == role_id(subject, READER)
    assert made.description == "a note"
    assert made.created_on and made.updated_on
    assert made.created_by is None, "recorded: the answer that makes it does not say who did"
    kept = authorization.role_assignments.get(group, made.name)
    assert kept.created_by == subject["administrator"]["objectId"]
    assert {**kept.as_dict(), "created_by": None} == {**made.as_dict(), "created_by": None}
    assert authorization.role_assignments.get_by_id(made.id).as_dict() == kept.as_dict()


def test_making_answers_201_and_unmaking_200_with_the_body_then_204(subject, arm, group, workload):
    path = f"{group}/{ASSIGNMENTS}/{uuid.uuid4()}"
    given = {"roleDefinitionId": role_id(subject, READER), "principalId": workload().principal_id}
    first, again = (arm.ask("PUT", path, {"properties": given}) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 201)
    gone = arm.ask("DELETE", path)
    assert (gone.status_code, gone.json()["properties"]["principalId"]) == (200, given["principalId"])
    assert arm.ask("DELETE", path).status_code == 204
    assert arm.ask("GET", path).status_code == 404


def test_lists_look_where_they_are_told(subject, authorization, arm, group, workload):
    someone, other = workload(), workload()
    vault = subject["vaults"]["denied"]["id"]
    above = assign(subject, arm, READER, someone.principal_id, f"/subscriptions/{subject['subscriptionId']}")["id"]
    at = assign(subject, arm, READER, someone.principal_id, subject["resourceGroup"])["id"]
    below = assign(subject, arm, KEY_VAULT_READER, someone.principal_id, vault)["id"]
    beside = assign(subject, arm, READER, someone.principal_id, group)["id"]
    others = assign(subject, arm, READER, other.principal_id, subject["resourceGroup"])["id"]
    made = {above, at, below, beside, others}

    def listed(filter=None, scope=subject["resourceGroup"]):
        return {each.id for each in authorization.role_assignments.list_for_scope(scope, filter=filter)} & made

    assert listed() == {above, at, below, others}
    assert listed("atScope()") == {above, at, others}
    assert listed(f"principalId eq '{someone.principal_id}'") == {above, at, below}
    assert listed(f"assignedTo('{someone.principal_id}')") == {above, at, below}
    assert listed(f"assignedTo('{other.principal_id}')") == {others}
    assert listed("atScope()", scope=vault) == {above, at, below, others}
    of_group = authorization.role_assignments.list_for_resource_group(group.rsplit("/", 1)[1], filter="atScope()")
    assert {each.id for each in of_group} & made == {above, beside}
    of_subscription = authorization.role_assignments.list_for_subscription()
    assert {each.id for each in of_subscription} >= made
    arm.must("DELETE", above)


def test_the_same_grant_under_another_name_is_refused(group, workload, give):
    """43."""
    someone = workload()
    made = give(READER, someone.principal_id, group)
    bare = made.name.replace("-", "")
    assert refused(give, READER, someone.principal_id, group) == (
        409,
        "RoleAssignmentExists",
        f"The role assignment already exists. The ID of the existing role assignment is {bare}.",
    )


def test_an_assignment_keeps_its_principal_role_and_scope(subject, group, workload, give):
    """44."""
    someone, other = workload(), workload()
    name = give(READER, someone.principal_id, group).name
    assert refused(give, READER, other.principal_id, group, name) == NOT_PERMITTED
    assert refused(give, CONTRIBUTOR, someone.principal_id, group, name) == NOT_PERMITTED
    assert refused(give, READER, someone.principal_id, subject["resourceGroup"], name) == NOT_PERMITTED
    assert give(READER, someone.principal_id, group, name, description="new").description == "new"


def test_a_principal_that_nobody_knows_is_refused(subject, group, give):
    """45. The two blanks are Azure's."""
    stranger = uuid.uuid4()
    assert refused(give, READER, str(stranger), group) == (
        400,
        "PrincipalNotFound",
        f"Principal {stranger.hex} does not exist in the directory {subject['tenantId']}. Check that you have the correct"
        " principal ID. If you are creating this principal and then immediately assigning a role, this error might be"
        " related to a replication delay. In this case, set the role assignment principalType property to a value, such"
        " as ServicePrincipal, User, or Group.  See https://aka.ms/docs-principaltype",
    )


@pytest.mark.parametrize("principal_type", ["ServicePrincipal", "User", "Group"])
def test_saying_what_a_principal_is_skips_the_look_up(group, give, principal_type):
    """45."""
    made = give(READER, str(uuid.uuid4()), group, principal_type=principal_type)
    assert made.principal_type == principal_type


def test_a_wrong_type_is_refused_in_azures_spelling(group, workload, give):
    """46."""
    someone = workload()
    status, code, message = refused(give, READER, someone.principal_id, group, principal_type="User")
    assert (status, code) == (400, "UnmatchedPrincipalType")
    said = re.fullmatch(
        r"The PrincipalId '([0-9a-f-]+)' has type 'ServicePrincipal' , which is different from specified PrinciaplType 'User'\.",
        message,
    )
    assert said and uuid.UUID(said[1]) == uuid.UUID(someone.principal_id)


def test_a_type_that_there_is_not_is_refused(group, workload, give):
    status, _, message = refused(give, READER, workload().principal_id, group, principal_type="MSI")
    assert status == 400
    assert "The PrincipalType property 'MSI' is not valid. It must be 'User', 'Group' or 'ServicePrincipal'." in message


def test_a_role_that_nobody_knows_is_refused(group, workload, give):
    role = str(uuid.uuid4())
    message = f"The specified role definition with ID '{role}' does not exist."
    assert refused(give, role, workload().principal_id, group) == (404, "RoleDefinitionDoesNotExist", message)


def test_deleting_a_principal_leaves_its_assignment(subject, authorization, arm, group):
    """47."""
    path = f"{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/short-lived"
    principal_id = arm.must("PUT", path, {"location": "eastus"})["properties"]["principalId"]
    made = assign(subject, arm, READER, principal_id, group)
    arm.must("DELETE", path)
    assert authorization.role_assignments.get_by_id(made["id"]).principal_id == principal_id


def test_deleting_a_vault_drops_its_assignments(subject, authorization, arm, group, workload):
    """69."""
    someone, name = workload(), f"kv-{uuid.uuid4().hex[:12]}"
    vault = f"{group}/providers/Microsoft.KeyVault/vaults/{name}"
    body = {
        "location": "eastus",
        "properties": {
            "tenantId": subject["tenantId"],
            "sku": {"family": "A", "name": "standard"},
            "enableRbacAuthorization": True,
        },
    }
    arm.must("PUT", vault, body)
    made = assign(subject, arm, SECRETS_USER, someone.principal_id, vault)
    arm.must("DELETE", vault)
    listed = authorization.role_assignments.list_for_subscription(filter=f"principalId eq '{someone.principal_id}'")
    assert made["id"] not in {each.id for each in listed}
    assert arm.ask("PUT", vault, body).status_code == 409
    purge = f"/subscriptions/{subject['subscriptionId']}/providers/Microsoft.KeyVault/locations/eastus/deletedVaults/{name}/purge"
    assert arm.ask("POST", purge).ok
    arm.must("PUT", vault, body)


def test_a_change_counts_at_the_next_request_without_a_new_token(subject, arm, group, workload):
    """36, 54, 55. The credential keeps its token; a resource that is not there is none of a stranger's business."""
    someone = workload()
    missing = f"{group}/providers/Microsoft.Compute/virtualMachines/missing"
    token = someone.credential.get_token("https://management.azure.com/.default").token
    action = "Microsoft.Compute/virtualMachines/read"
    assert answered(someone.arm.ask("GET", missing)) == not_authorized(someone, action, missing)
    made = assign(subject, arm, READER, someone.principal_id, group)
    assert someone.arm.ask("GET", missing).status_code == 404
    arm.must("DELETE", made["id"])
    assert answered(someone.arm.ask("GET", missing)) == not_authorized(someone, action, missing)
    assert someone.credential.get_token("https://management.azure.com/.default").token == token


def test_a_contributor_writes_machines_but_neither_roles_nor_secrets(subject, arm, group, workload):
    """39."""
    someone = workload()
    assign(subject, arm, CONTRIBUTOR, someone.principal_id, group)
    assign(subject, arm, CONTRIBUTOR, someone.principal_id, subject["vaults"]["granted"]["id"])
    machine = f"{group}/providers/Microsoft.Compute/virtualMachines/vm"
    body = {"location": "eastus", "properties": {"hardwareProfile": {"vmSize": "Standard_B1s"}}}
    assert someone.arm.ask("PUT", machine, body).ok
    path = f"{group}/{ASSIGNMENTS}/{uuid.uuid4()}"
    given = {"properties": {"roleDefinitionId": role_id(subject, READER), "principalId": someone.principal_id}}
    refusal = answered(someone.arm.ask("PUT", path, given))
    assert refusal == not_authorized(someone, "Microsoft.Authorization/roleAssignments/write", path)
    assert refused(someone.read, subject["secret"]["name"])[:2] == (403, "Forbidden")


def test_scopes_are_compared_by_whole_segments_in_any_case(subject, arm, group, workload):
    """41."""
    someone = workload()
    longer = arm.must("PUT", f"{group}0", {"location": "eastus"})["id"]
    assign(subject, arm, READER, someone.principal_id, group.upper().replace("/SUBSCRIPTIONS/", "/subscriptions/"))
    assert someone.arm.ask("GET", group).status_code == 200
    assert someone.arm.ask("GET", group.replace("/group-", "/GROUP-")).status_code == 200
    assert someone.arm.ask("GET", longer).status_code == 403
    arm.must("DELETE", longer)


def test_a_role_on_one_secret_opens_that_one_only(subject, arm, secret, workload):
    """42."""
    someone, name = workload(), f"one-{uuid.uuid4()}"
    secret(name), secret(f"{name}-neighbour")
    assign(subject, arm, SECRETS_USER, someone.principal_id, f"{subject['vaults']['granted']['id']}/secrets/{name}")
    assert someone.read(name) == name[::-1]
    assert refused(someone.read, f"{name}-neighbour")[:2] == (403, "Forbidden")
    with someone.secrets() as secrets:
        assert refused(lambda: list(secrets.list_properties_of_secrets()))[:2] == (403, "Forbidden")
