"""`keycard record`: what a program asked for while it ran, as the fewest and narrowest roles with which it runs.

The program here reads a secret, lists secrets, and reads its machine.
"""

import contextlib
import json
import uuid

import pytest
from azure.core.exceptions import HttpResponseError

from administration import ASSIGNMENTS, CONTRIBUTOR, SECRETS_OFFICER, assign, refused
from breadth import covers
from commands import follow

PLANES = {False: "C", True: "D"}


@pytest.fixture
def program(subject, secret):
    """Runs as a workload; how each of its steps went."""
    name = secret(f"record-{uuid.uuid4()}")

    def run(who):
        outcomes = []
        with who.secrets() as secrets:
            for step in (lambda: secrets.get_secret(name), lambda: list(secrets.list_properties_of_secrets())):
                try:
                    step()
                    outcomes.append(200)
                except HttpResponseError as error:
                    outcomes.append(error.status_code)
        outcomes.append(who.arm.ask("GET", subject["vm"]["id"]).status_code)
        return outcomes

    run.secret = f"{subject['vaults']['granted']['id']}/secrets/{name}"
    return run


@pytest.fixture
def record(keycard):
    """Records what happens inside; the recording is there afterwards."""

    @contextlib.contextmanager
    def recording(*options):
        assert keycard.json("record", "start") == {"status": "Recording"}
        made = {}
        try:
            yield made
        finally:
            made.update(keycard.json("record", "stop", *options))

    return recording


def questions(subject, program):
    vaults = "Microsoft.KeyVault/vaults/secrets"
    return {
        (f"{vaults}/getSecret/action", program.secret, True),
        (f"{vaults}/readMetadata/action", subject["vaults"]["granted"]["id"], True),
        ("Microsoft.Compute/virtualMachines/read", subject["vm"]["id"], False),
    }


def test_what_was_refused_is_recorded_and_lifted(subject, arm, workload, program, record):
    """A first run with no role at all; then with the roles it was told."""
    someone = workload()
    with record() as made:
        assert program(someone) == [403, 403, 403]
    asked = {(each["action"], each["scope"], each["isDataAction"]) for each in made["questions"]}
    assert asked == questions(subject, program)
    assert [(each["wasAllowed"], each["identity"]["principalId"]) for each in made["questions"]] == [
        (False, someone.principal_id)
    ] * 3
    assert made["uncovered"] == []
    for each in made["assignments"]:
        follow(subject, arm, each["command"])
    assert program(someone) == [200, 200, 200]


def test_a_fresh_identity_runs_with_what_was_recorded_and_with_nothing_less(subject, arm, workload, program, record):
    """A run with too broad roles; then a fresh identity with the recorded ones, and with each of them taken away."""
    broad, fresh = workload(), workload()
    assign(subject, arm, SECRETS_OFFICER, broad.principal_id, subject["resourceGroup"])
    assign(subject, arm, CONTRIBUTOR, broad.principal_id, subject["resourceGroup"])
    with record() as made:
        assert program(broad) == [200, 200, 200]
    assert {each["wasAllowed"] for each in made["questions"]} == {True}

    # Every recorded question is covered, and every assignment is for one.
    used = set()
    for question in made["questions"]:
        covering = [each["command"] for each in made["assignments"] if is_covered(arm, question, each)]
        assert covering, question
        used.update(covering)
    assert used == {each["command"] for each in made["assignments"]}

    assert program(fresh) == [403, 403, 403]
    given = [follow(subject, arm, each["command"], fresh.principal_id)["id"] for each in made["assignments"]]
    assert program(fresh) == [200, 200, 200]
    for index, each in enumerate(given):
        arm.must("DELETE", each)
        assert 403 in program(fresh)
        follow(subject, arm, made["assignments"][index]["command"], fresh.principal_id)
    assert program(fresh) == [200, 200, 200]


def is_covered(arm, question, assignment):
    role = arm.must("GET", assignment["role"]["id"])
    within = f"{question['scope']}/".lower().startswith(f"{assignment['scope']}/".lower())
    return within and covers(role, PLANES[question["isDataAction"]], question["action"])


def test_a_recording_is_a_template(subject, arm, keycard, workload, program, group):
    """Deployments are done by hand here: each resource is put where Azure's would put it."""
    someone = workload()
    subscription = f"/subscriptions/{subject['subscriptionId']}"

    def run():
        above = [someone.arm.ask("GET", path).status_code for path in (group, f"{subscription}/resourceGroups")]
        return program(someone) + above

    keycard.json("record", "start")
    assert run() == [403] * 5
    done = keycard.run("record", "stop", "--template")
    assert done.returncode == 0, done.stderr
    template = json.loads(done.stdout)
    assert template["$schema"].endswith("/2018-05-01/subscriptionDeploymentTemplate.json#")
    deploy(arm, subscription, template)
    assert run() == [200] * 5


def deploy(arm, base, template):
    """Puts a template's role assignments; a nested deployment is for a resource group."""
    assert {"$schema", "contentVersion", "resources"} == set(template)
    assert template["resources"]
    for resource in template["resources"]:
        assert {"type", "apiVersion", "name", "properties"} <= set(resource)
        if resource["type"] == "Microsoft.Resources/deployments":
            assert len(resource["name"]) <= 64
            assert resource["properties"]["mode"] == "Incremental"
            nested = resource["properties"]["template"]
            assert nested["$schema"].endswith("/2019-04-01/deploymentTemplate.json#")
            deploy(arm, f"{base}/resourceGroups/{resource['resourceGroup']}", nested)
        else:
            assert resource["type"] == "Microsoft.Authorization/roleAssignments"
            scope = f"{base}/providers/{resource['scope']}" if "scope" in resource else base
            arm.must("PUT", f"{scope}/{ASSIGNMENTS}/{resource['name']}", {"properties": resource["properties"]})


def test_the_administrators_own_requests_are_no_part_of_a_run(subject, arm, workload, record):
    with record() as made:
        arm.must("GET", subject["vm"]["id"])
    assert (made["questions"], made["assignments"], made["uncovered"]) == ([], [], [])


def test_a_recording_begins_anew_and_ends_once(keycard, workload, program, record):
    someone = workload()
    keycard.json("record", "start")
    program(someone)
    with record() as made:
        pass
    assert made["questions"] == []
    done = keycard.run("record", "stop")
    assert done.returncode == 1 and done.stderr and not done.stdout


def test_a_vault_with_access_policies_needs_a_policy(subject, arm, workload, record):
    someone = workload()
    with record() as made:
        assert refused(someone.read, "any", "policies")[0] == 403
    assert made["assignments"] == []
    (given,) = made["accessPolicies"]
    follow(subject, arm, given["command"])
    assert refused(someone.read, "any", "policies")[0] == 404
