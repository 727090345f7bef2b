"""keycard's own commands, and the Azure CLI's of which their advice consists, done by plain requests."""

import json
import shlex
import subprocess
import urllib.parse
import uuid

from administration import ASSIGNMENTS, DEFINITIONS


class Keycard:
    """The program under test, talking to the server under test."""

    def __init__(self, described):
        self.described = described

    def run(self, *arguments):
        program, environment = self.described["program"], self.described["environment"]
        return subprocess.run([program, *arguments], env=environment, capture_output=True, text=True)

    def json(self, *arguments):
        done = self.run(*arguments, "--output", "json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


def follow(subject, arm, command, principal_id=None):
    """Does what an `az` command says; for another principal than it names, if one is given."""
    words = shlex.split(command)
    options = {name[2:]: value for name, value in zip(words, words[1:]) if name.startswith("--")}
    match words[1:3]:
        case ["role", "assignment"]:
            path = f"{options['scope']}/{ASSIGNMENTS}/{uuid.uuid4()}"
            properties = {
                "roleDefinitionId": role_named(arm, options["scope"], options["role"]),
                "principalId": principal_id or options["assignee-object-id"],
                "principalType": options["assignee-principal-type"],
            }
            return arm.must("PUT", path, {"properties": properties})
        case ["rest", "--method"]:
            url = urllib.parse.urlsplit(options["url"])
            assert url.query.startswith("api-version=")
            return arm.must(options["method"].upper(), url.path)
        case ["keyvault", "set-policy"]:
            return set_policy(subject, arm, options)
    raise AssertionError(f"nobody knows how to do: {command}")


def role_named(arm, scope, name):
    escaped = name.replace("'", "''")
    (found,) = arm.must("GET", f"{scope}/{DEFINITIONS}", **{"$filter": f"roleName eq '{escaped}'"})["value"]
    return found["id"]


def set_policy(subject, arm, options):
    path = f"/subscriptions/{subject['subscriptionId']}/resources"
    filter = f"resourceType eq 'Microsoft.KeyVault/vaults' and name eq '{options['name']}'"
    (found,) = arm.must("GET", path, **{"$filter": filter, "api-version": "2024-11-01"})["value"]
    vault = arm.must("GET", found["id"])
    words = [options["secret-permissions"]]
    policy = {"tenantId": subject["tenantId"], "objectId": options["object-id"], "permissions": {"secrets": words}}
    vault["properties"]["accessPolicies"].append(policy)
    return arm.must("PUT", found["id"], {"location": vault["location"], "properties": vault["properties"]})
