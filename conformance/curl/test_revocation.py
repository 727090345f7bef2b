"""A grant that is taken back is refused within a second, with the token still valid. Number 5 of specs/data-planes.md, 10.

Source: the contract, "Settled meanings"; Microsoft Learn, "Role Assignments - Create", "- Delete" (REST).
"""

import time
import uuid

import asking
from vault import Vault, assert_error

SECRETS_USER = "4633458b-17de-408a-b874-0445c86b69e6"
REVOCATION_SECONDS_MAX = 1


def test_a_revoked_grant_is_refused_within_a_second(subject, machines, administrator_token):
    granted = subject["vaults"]["granted"]
    identity = subject["identities"]["other"]
    vault, path = Vault(granted), f"/secrets/{subject['secret']['name']}"
    token = machines["vm-two-users"].token(client_id=identity["clientId"]).json()["access_token"]
    assert_error(vault.ask(path, token), 403, "Forbidden", "ForbiddenByRbac")

    url = f"{subject['resourceManager']}{granted['id']}/providers/Microsoft.Authorization/roleAssignments/{uuid.uuid4()}"
    role = f"/subscriptions/{subject['subscriptionId']}/providers/Microsoft.Authorization/roleDefinitions/{SECRETS_USER}"
    grant = {"properties": {"roleDefinitionId": role, "principalId": identity["principalId"]}}
    administrator = asking.bearer(administrator_token("https://management.azure.com"))
    made = asking.curl(f"{url}?api-version=2022-04-01", *administrator, *asking.json_body("PUT", grant))
    assert made.status == 201, made
    assert answers_within(lambda: vault.ask(path, token).status, 200, REVOCATION_SECONDS_MAX)

    gone = asking.curl(f"{url}?api-version=2022-04-01", *administrator, "--request", "DELETE")
    assert gone.status == 200, gone
    assert answers_within(lambda: vault.ask(path, token).status, 403, REVOCATION_SECONDS_MAX)


def answers_within(ask, status, seconds):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if ask() == status:
            return True
    return False
