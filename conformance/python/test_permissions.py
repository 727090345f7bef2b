"""What a principal may do, asked before it tries: `permissions` and `checkAccess`.

Source: Microsoft Learn, "Permissions" (REST, 2022-04-01); specs/azure-semantics.md, 3.1. `checkAccess` is not documented:
its names are those that clients of 2021-06-01-preview send.
"""

from administration import DENIES, READER, SECRETS_USER, VM_CONTRIBUTOR, answered, assign, not_authorized

GET_SECRET = "Microsoft.KeyVault/vaults/secrets/getSecret/action"


def group_name(group):
    return group.rsplit("/", 1)[1]


def test_permissions_are_those_of_the_callers_roles(subject, authorization, arm, group, workload):
    """52."""
    someone = workload()
    permissions = someone.authorization.permissions.list_for_resource_group
    assert list(permissions(group_name(group))) == []
    roles = {READER: group, SECRETS_USER: group, VM_CONTRIBUTOR: subject["resourceGroup"]}
    for role, scope in roles.items():
        assign(subject, arm, role, someone.principal_id, scope)
    wanted = [
        permission.as_dict()
        for role in (READER, SECRETS_USER)
        for permission in authorization.role_definitions.get(group, role).permissions
    ]
    listed = [permission.as_dict() for permission in permissions(group_name(group))]
    assert sorted(listed, key=str) == sorted(wanted, key=str)


def test_permissions_of_a_resource_include_those_from_above(subject, arm, workload):
    someone, vault = workload(), subject["vaults"]["denied"]
    assign(subject, arm, READER, someone.principal_id, subject["resourceGroup"])
    assign(subject, arm, SECRETS_USER, someone.principal_id, vault["id"])
    listed = someone.authorization.permissions.list_for_resource(
        group_name(subject["resourceGroup"]), "Microsoft.KeyVault", "", "vaults", vault["name"]
    )
    listed = list(listed)
    assert ["*/read"] in [permission.actions for permission in listed]
    assert any(GET_SECRET in permission.data_actions for permission in listed)


def ask(who, scope, principal_id, *actions):
    body = {
        "Subject": {"Attributes": {"ObjectId": principal_id}},
        "Actions": [{"Id": action, "IsDataAction": is_data} for action, is_data in actions],
        "Resource": {"Id": scope},
    }
    return who.ask("POST", f"{scope}/providers/Microsoft.Authorization/checkAccess", body)


def test_an_access_check_says_what_a_request_would_be_told(subject, arm, workload):
    someone, vault = workload(), subject["vaults"]["denied"]["id"]
    read, get, write = ("Microsoft.KeyVault/vaults/read", False), (GET_SECRET, True), ("Microsoft.KeyVault/vaults/write", False)
    assign(subject, arm, SECRETS_USER, someone.principal_id, vault)
    given = assign(subject, arm, READER, someone.principal_id, vault)
    properties = {
        "denyAssignmentName": "check",
        "permissions": [{"dataActions": [GET_SECRET]}],
        "principals": [{"id": someone.principal_id, "type": "ServicePrincipal"}],
    }
    deny = f"{vault}/{DENIES}/{someone.principal_id}"
    arm.must("PUT", deny, {"properties": properties})

    for who in (someone.arm, arm):
        answer = ask(who, vault, someone.principal_id, read, get, write)
        assert answer.status_code == 200, answer.text
        value = answer.json()["value"]
        assert [each["actionId"] for each in value] == [read[0], get[0], write[0]]
        assert [each["accessDecision"] for each in value] == ["Allowed", "Denied", "NotAllowed"]
        assert [each["decisionReason"] for each in value] == [
            "GrantedByRBAC",
            "DeniedByDenyAssignment",
            "DeniedWithNoValidRBAC",
        ]
        assert value[0]["roleAssignment"]["id"] == given["id"]
        assert value[1]["denyAssignment"]["id"] == deny
    arm.must("DELETE", deny)


def test_who_may_not_read_assignments_may_not_ask_about_others(arm, group, workload):
    someone, other = workload(), workload()
    asked = ("Microsoft.Resources/subscriptions/resourceGroups/read", False)
    assert ask(someone.arm, group, someone.principal_id, asked).json()["value"][0]["accessDecision"] == "NotAllowed"
    refusal = answered(ask(someone.arm, group, other.principal_id, asked))
    assert refusal == not_authorized(someone, "Microsoft.Authorization/roleAssignments/read", group)
