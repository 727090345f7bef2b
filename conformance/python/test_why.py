"""`keycard why`: for every way to be refused it says what is enough; doing that is enough, and no smaller role is.

The way is the user's: a request is refused, its `x-ms-request-id` is explained, the advised command is done (its meaning,
since the Azure CLI is not a part of this suite), and the same request is made again.
"""

import uuid

import pytest
import requests
from azure.core.exceptions import HttpResponseError

from administration import (
    ASSIGNMENTS,
    DEFINITIONS,
    DENIES,
    OWNER,
    SECRETS_USER,
    VM_CONTRIBUTOR,
    answered,
    assign,
    role_id,
)
from breadth import Roles
from commands import follow

MACHINE = {"location": "eastus", "properties": {"hardwareProfile": {"vmSize": "Standard_B1s"}}}
GET_SECRET = "Microsoft.KeyVault/vaults/secrets/getSecret/action"


@pytest.fixture(scope="module")
def roles(subject, arm):
    path = f"/subscriptions/{subject['subscriptionId']}/{DEFINITIONS}"
    listed = arm.must("GET", path, **{"$filter": "type eq 'BuiltInRole'"})
    assert "nextLink" not in listed
    return Roles(listed["value"])


class World:
    """What a case may use: the fixtures, and one workload, which is the one that is refused."""

    def __init__(self, subject, arm, group, secret, workload):
        self.subject, self.arm, self.group, self.secret, self.workload = subject, arm, group, secret, workload
        self.who = workload()

    def give(self, role, scope, **properties):
        return assign(self.subject, self.arm, role, self.who.principal_id, scope, **properties)

    def put_vault(self):
        """The id of an empty vault; only Resource Manager is asked about it, so its name need not resolve."""
        path = f"{self.group}/providers/Microsoft.KeyVault/vaults/kv-{uuid.uuid4().hex[:12]}"
        properties = {
            "tenantId": self.subject["tenantId"],
            "sku": {"family": "A", "name": "standard"},
            "enableRbacAuthorization": True,
        }
        return self.arm.must("PUT", path, {"location": "eastus", "properties": properties})["id"]

    def identity(self):
        path = f"{self.group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/to-be-attached"
        return self.arm.must("PUT", path, {"location": "eastus"})["id"]

    def asking(self, method, path, body=None):
        def attempt():
            answer = self.who.arm.ask(method, path, body)
            return answer.status_code, answer.headers["x-ms-request-id"]

        return attempt

    def at_vault(self, call, vault="granted"):
        def attempt():
            try:
                with self.who.secrets(vault) as secrets:
                    call(secrets)
            except HttpResponseError as error:
                return error.status_code, error.response.headers["x-ms-request-id"]
            return 200, None

        return attempt


@pytest.fixture
def world(subject, arm, group, secret, workload):
    return World(subject, arm, group, secret, workload)


def read_a_secret(world):
    name = world.secret(f"why-{uuid.uuid4()}")
    return world.at_vault(lambda secrets: secrets.get_secret(name))


def set_a_secret(world):
    name = f"why-{uuid.uuid4()}"
    return world.at_vault(lambda secrets: secrets.set_secret(name, "value"))


def list_secrets(world):
    return world.at_vault(lambda secrets: list(secrets.list_properties_of_secrets()))


def delete_a_secret(world):
    name = world.secret(f"why-{uuid.uuid4()}")
    return world.at_vault(lambda secrets: secrets.begin_delete_secret(name, _polling_interval=0.1))


def read_a_machine(world):
    return world.asking("GET", world.subject["vm"]["id"])


def make_a_machine(world):
    return world.asking("PUT", f"{world.group}/providers/Microsoft.Compute/virtualMachines/new", MACHINE)


def give_a_role(world):
    given = {"roleDefinitionId": role_id(world.subject, SECRETS_USER), "principalId": world.who.principal_id}
    return world.asking("PUT", f"{world.group}/{ASSIGNMENTS}/{uuid.uuid4()}", {"properties": given})


def attach_an_identity(world):
    """The machine may be written; the identity may not be given to it."""
    world.give(VM_CONTRIBUTOR, world.group)
    block = {"type": "UserAssigned", "userAssignedIdentities": {world.identity(): {}}}
    return world.asking("PUT", f"{world.group}/providers/Microsoft.Compute/virtualMachines/new", {**MACHINE, "identity": block})


def write_a_group(world):
    return world.asking("PUT", world.group, {"location": "eastus", "tags": {"a": "b"}})


def delete_a_vault(world):
    return world.asking("DELETE", world.put_vault())


def read_a_secret_under_an_unmet_condition(world):
    name = world.secret(f"why-{uuid.uuid4()}")
    condition = "@Resource[Microsoft.KeyVault/vaults/secrets:name] StringEquals 'another'"
    world.give(SECRETS_USER, world.subject["vaults"]["granted"]["id"], condition=condition, conditionVersion="2.0")
    return world.at_vault(lambda secrets: secrets.get_secret(name))


BY_ROLES = {
    read_a_secret: "DeniedWithNoValidRBAC",
    set_a_secret: "DeniedWithNoValidRBAC",
    list_secrets: "DeniedWithNoValidRBAC",
    delete_a_secret: "DeniedWithNoValidRBAC",
    read_a_machine: "DeniedWithNoValidRBAC",
    make_a_machine: "DeniedWithNoValidRBAC",
    give_a_role: "DeniedWithNoValidRBAC",
    attach_an_identity: "DeniedWithNoValidRBAC",
    write_a_group: "DeniedWithNoValidRBAC",
    delete_a_vault: "DeniedWithNoValidRBAC",
    read_a_secret_under_an_unmet_condition: "DeniedWithABACEvaluationInRA",
}


@pytest.mark.parametrize("case", BY_ROLES, ids=lambda case: case.__name__)
def test_the_advised_role_is_enough_and_no_smaller_one_is(keycard, roles, world, case):
    attempt = case(world)
    status, request_id = attempt()
    assert status == 403
    (explained,) = keycard.json("why", request_id)
    assert explained["identity"]["principalId"] == world.who.principal_id
    assert (explained["decision"], explained["reason"]) == ("NotAllowed", BY_ROLES[case])
    advice = explained["advice"]
    assert (advice["kind"], advice["principalId"]) == ("assignRole", world.who.principal_id)

    role = roles.named(advice["role"]["name"])
    assert role["name"] == advice["role"]["id"].rsplit("/", 1)[1]
    assert roles.breadth(role) == advice["role"]["knownActions"]
    # All smaller ones together are not enough, so none of them is.
    for smaller in roles.smaller(advice["role"]["knownActions"], explained["action"]):
        path = f"{advice['scope']}/{ASSIGNMENTS}/{uuid.uuid4()}"
        given = {"roleDefinitionId": smaller["id"], "principalId": world.who.principal_id}
        assert world.arm.ask("PUT", path, {"properties": given}).status_code in (201, 409)
    assert attempt()[0] == 403

    follow(world.subject, world.arm, advice["command"])
    assert attempt()[0] in (200, 201, 202)


@pytest.mark.parametrize("case", [read_a_secret, list_secrets, make_a_machine, write_a_group], ids=lambda case: case.__name__)
def test_a_question_gets_the_same_answer_as_the_request(keycard, world, case):
    attempt = case(world)
    _, request_id = attempt()
    (explained,) = keycard.json("why", request_id)
    asked = ("--action", explained["action"], "--scope", explained["scope"])
    for identity in (world.who.principal_id, world.who.client_id, world.who.id, world.who.id.rsplit("/", 1)[1]):
        assert keycard.json("why", "--as", identity, *asked) == [explained]
    follow(world.subject, world.arm, explained["advice"]["command"])
    (now,) = keycard.json("why", "--as", world.who.principal_id, *asked)
    assert (now["decision"], now["reason"], now["advice"]) == ("Allowed", "GrantedByRBAC", None)
    assert now["roleAssignment"]["properties"]["principalId"] == world.who.principal_id


def test_a_deny_assignment_is_named_and_its_end_is_enough(keycard, world):
    world.give(OWNER, world.group)
    properties = {
        "denyAssignmentName": "no writes",
        "permissions": [{"actions": ["*/write"]}],
        "principals": [{"id": world.who.principal_id, "type": "ServicePrincipal"}],
    }
    deny = world.arm.must("PUT", f"{world.group}/{DENIES}/{uuid.uuid4()}", {"properties": properties})
    attempt = make_a_machine(world)
    status, request_id = attempt()
    assert status == 403
    (explained,) = keycard.json("why", request_id)
    assert explained["reason"] == "DeniedByDenyAssignment"
    assert explained["denyAssignment"]["id"] == deny["id"]
    assert explained["advice"]["kind"] == "liftDenyAssignment"
    follow(world.subject, world.arm, explained["advice"]["command"])
    assert attempt()[0] in (200, 201)


def test_a_refusal_of_two_causes_is_lifted_in_two_steps(keycard, world):
    """While no role grants it, a deny assignment has nothing to forbid, and is not spoken of."""
    properties = {
        "denyAssignmentName": "no writes",
        "permissions": [{"actions": ["*/write"]}],
        "principals": [{"id": world.who.principal_id, "type": "ServicePrincipal"}],
    }
    world.arm.must("PUT", f"{world.group}/{DENIES}/{uuid.uuid4()}", {"properties": properties})
    attempt = make_a_machine(world)
    for kind in ("assignRole", "liftDenyAssignment"):
        status, request_id = attempt()
        assert status == 403
        (explained,) = keycard.json("why", request_id)
        assert explained["advice"]["kind"] == kind
        follow(world.subject, world.arm, explained["advice"]["command"])
    assert attempt()[0] in (200, 201)


@pytest.mark.parametrize(
    ("word", "call"),
    [
        ("get", lambda secrets: secrets.get_secret("any")),
        ("set", lambda secrets: secrets.set_secret("any", "value")),
        ("list", lambda secrets: list(secrets.list_properties_of_secrets())),
    ],
    ids=lambda it: it if isinstance(it, str) else "",
)
def test_a_vault_with_access_policies_gets_a_word_in_them(keycard, world, word, call):
    """A secret that is not there answers 404 to whoever may read it."""
    attempt = world.at_vault(call, "policies")
    status, request_id = attempt()
    assert status == 403
    (explained,) = keycard.json("why", request_id)
    assert explained["reason"] == "DeniedByAccessPolicy"
    assert (explained["advice"]["kind"], explained["advice"]["secretPermission"]) == ("setAccessPolicy", word)
    follow(world.subject, world.arm, explained["advice"]["command"])
    assert attempt()[0] in (200, 404)


@pytest.fixture
def check(subject, world):
    """Asks the check endpoint, as a proxy would, about an action of nobody's but ours."""

    def attempt(action, scope):
        token = world.who.credential.get_token("https://storage.azure.com/.default").token
        answer = requests.get(
            f"{subject['loopback']}/authorize",
            params={"audience": "https://storage.azure.com", "action": action, "scope": scope},
            headers={"Authorization": f"Bearer {token}"},
            timeout=10,
        )
        return answer.status_code, answer.headers["x-ms-request-id"]

    return attempt


def test_an_action_of_ones_own_is_granted_by_a_role_of_ones_own(keycard, world, check):
    action, scope = f"Contoso.Why/things{uuid.uuid4().hex[:8]}/read", f"{world.group}/providers/Contoso.Why/things/one"
    status, request_id = check(action, scope)
    assert status == 403
    (explained,) = keycard.json("why", request_id)
    assert (explained["isDataAction"], explained["advice"]) == (True, None)

    name = f"Reads things {uuid.uuid4()}"
    role = f"{world.group}/{DEFINITIONS}/{uuid.uuid4()}"
    properties = {"roleName": name, "permissions": [{"dataActions": [action]}], "assignableScopes": [world.group]}
    world.arm.must("PUT", role, {"properties": properties})
    (explained,) = keycard.json("why", request_id)
    assert explained["advice"]["role"]["name"] == name
    given = follow(world.subject, world.arm, explained["advice"]["command"])
    assert check(action, scope)[0] in (200, 204)
    assert check(action.replace("read", "write"), scope)[0] == 403
    world.arm.must("DELETE", given["id"])
    world.arm.must("DELETE", role)


def test_a_condition_is_asked_about_with_attributes(keycard, world):
    vault = world.subject["vaults"]["granted"]["id"]
    condition = "@Resource[Microsoft.KeyVault/vaults/secrets:name] StringEquals 'db'"
    world.give(SECRETS_USER, vault, condition=condition, conditionVersion="2.0")

    def reason(*attributes):
        given = [word for attribute in attributes for word in ("--attribute", attribute)]
        asked = ("--as", world.who.principal_id, "--action", GET_SECRET, "--scope", f"{vault}/secrets/db")
        (explained,) = keycard.json("why", *asked, *given)
        return explained["reason"]

    name = "@Resource[Microsoft.KeyVault/vaults/secrets:name]"
    assert reason() == "DeniedWithMissingAttributesInRA"
    assert reason(f"{name}=db") == "GrantedByABAC"
    assert reason(f"{name}=db2") == "DeniedWithABACEvaluationInRA"


def test_words_for_people_end_in_the_command(keycard, world):
    _, request_id = list_secrets(world)()
    (explained,) = keycard.json("why", request_id)
    done = keycard.run("why", request_id)
    assert done.returncode == 0
    assert done.stdout.startswith("refused ")
    assert done.stdout.rstrip().endswith(explained["advice"]["command"])


def test_what_nobody_was_refused_is_not_explained(keycard):
    done = keycard.run("why", str(uuid.uuid4()))
    assert done.returncode == 1 and done.stderr and not done.stdout


@pytest.mark.parametrize("arguments", [["why"], ["why", "--as", "x"], ["why", "--as", "x", "--action", "A/b"], ["record"]])
def test_a_misused_command_says_so(keycard, arguments):
    assert keycard.run(*arguments).returncode == 2


def test_a_role_that_stands_under_a_condition_is_not_advised_again(keycard, world):
    """It could not be given: the next narrowest is advised, which can."""
    condition = "@Resource[Microsoft.KeyVault/vaults/secrets:name] StringEquals 'another'"
    stands = world.give(SECRETS_USER, world.subject["vaults"]["granted"]["id"], condition=condition, conditionVersion="2.0")
    status, request_id = list_secrets(world)()
    assert status == 403
    (explained,) = keycard.json("why", request_id)
    assert explained["reason"] == "DeniedWithMissingAttributesInRA"
    assert explained["roleAssignment"]["id"] == stands["id"]
    advice = explained["advice"]
    given = {"roleDefinitionId": advice["role"]["id"], "principalId": advice["principalId"]}
    world.arm.must("PUT", f"{advice['scope']}/{ASSIGNMENTS}/{uuid.uuid4()}", {"properties": given})
    assert list_secrets(world)()[0] == 200


@pytest.mark.parametrize("scope", ["nonsense", "@127.0.0.1:9/x", "https://elsewhere.example/"])
def test_a_scope_that_is_no_path_leads_nowhere(keycard, world, scope):
    done = keycard.run("why", "--as", world.who.principal_id, "--action", GET_SECRET, "--scope", scope)
    assert done.returncode == 1 and "is no scope" in done.stderr
