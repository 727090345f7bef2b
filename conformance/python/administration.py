"""Resource Manager as its administrators use it: the vendor's client, requests as `az rest` sends them, and workloads that
a test makes up.
"""

import contextlib
import json
import uuid

import pytest
import requests
from azure.core.exceptions import HttpResponseError
from azure.identity import ManagedIdentityCredential
from azure.keyvault.secrets import SecretClient
from azure.mgmt.authorization import AuthorizationManagementClient

MANAGEMENT = "https://management.azure.com"
ANSWER_SECONDS_MAX = 20

# Source: Microsoft Learn, "Azure built-in roles".
OWNER = "8e3af657-a8ff-443c-a75c-2fe8c4bcb635"
CONTRIBUTOR = "b24988ac-6180-42a0-ab88-20f7382dd24c"
READER = "acdd72a7-3385-48ef-bd42-f606fba81ae7"
RBAC_ADMINISTRATOR = "f58310d9-a9f6-439a-9e8d-f62e7b41a168"
VM_CONTRIBUTOR = "9980e02c-c2be-4d73-94e8-173b1dc7cf3c"
SECRETS_USER = "4633458b-17de-408a-b874-0445c86b69e6"
SECRETS_OFFICER = "b86a8fe4-44ce-4948-aee5-eccb2c155cd7"
KEY_VAULT_READER = "21090545-7ca7-4776-b22c-e363652d74d2"

ASSIGNMENTS = "providers/Microsoft.Authorization/roleAssignments"
DENIES = "providers/Microsoft.Authorization/denyAssignments"
DEFINITIONS = "providers/Microsoft.Authorization/roleDefinitions"

# By the last type in a path; what is below Microsoft.Authorization has the version of the vendor's client.
API_VERSIONS = {
    "resourcegroups": "2024-11-01",
    "userassignedidentities": "2024-11-30",
    "virtualmachines": "2024-07-01",
    "managedclusters": "2025-05-01",
    "vaults": "2023-07-01",
    "deletedvaults": "2023-07-01",
    "purge": "2023-07-01",
    "denyassignments": "2024-07-01-preview",
}
AUTHORIZATION_VERSION = "2022-04-01"


class ResourceManager:
    """Requests with a bearer token and whatever comes back, as `az rest` sends them."""

    def __init__(self, subject, credential):
        self.base = subject["resourceManager"]
        self.credential = credential
        self.session = requests.Session()

    def ask(self, method, path, body=None, **query):
        version = next((API_VERSIONS[part] for part in reversed(path.lower().split("/")) if part in API_VERSIONS), None)
        if "/microsoft.authorization/" in path.lower() and "/denyassignments" not in path.lower():
            version = AUTHORIZATION_VERSION
        token = self.credential.get_token(f"{MANAGEMENT}/.default").token
        return self.session.request(
            method,
            f"{self.base}{path}",
            params={"api-version": version, **query},
            json=body,
            headers={"Authorization": f"Bearer {token}"},
            timeout=ANSWER_SECONDS_MAX,
        )

    def must(self, method, path, body=None, **query):
        answer = self.ask(method, path, body, **query)
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def close(self):
        self.session.close()


def client(subject, credential, kind=AuthorizationManagementClient, **more):
    """One of the vendor's management clients; all of them are made alike."""
    return kind(
        credential,
        subject["subscriptionId"],
        base_url=subject["resourceManager"],
        credential_scopes=[f"{MANAGEMENT}/.default"],
        **more,
    )


class Workload:
    """A program with a managed identity of its own, and no role to begin with."""

    def __init__(self, subject, identity):
        self.subject = subject
        self.id = identity["id"]
        self.principal_id = identity["properties"]["principalId"]
        self.client_id = identity["properties"]["clientId"]
        self.credential = ManagedIdentityCredential(client_id=self.client_id)
        self.arm = ResourceManager(subject, self.credential)
        self.authorization = client(subject, self.credential)

    @contextlib.contextmanager
    def secrets(self, vault="granted"):
        with SecretClient(self.subject["vaults"][vault]["url"], self.credential) as secrets:
            yield secrets

    def read(self, name, vault="granted"):
        with self.secrets(vault) as secrets:
            return secrets.get_secret(name).value

    def close(self):
        self.arm.close()
        self.authorization.close()
        self.credential.close()


def role_id(subject, role):
    return f"/subscriptions/{subject['subscriptionId']}/{DEFINITIONS}/{role}"


def assign(subject, arm, role, principal_id, scope, **properties):
    """Gives a role under a new name; the assignment's representation."""
    given = {"roleDefinitionId": role_id(subject, role), "principalId": principal_id, **properties}
    return arm.must("PUT", f"{scope}/{ASSIGNMENTS}/{uuid.uuid4()}", {"properties": given})


def refused(call, *arguments, **options):
    """Status, code and message of what the vendor's client raises."""
    with pytest.raises(HttpResponseError) as caught:
        call(*arguments, **options)
    return (caught.value.status_code, *said(caught.value))


def said(error):
    """Code and message as they came over the wire."""
    body = json.loads(error.response.text())["error"]
    return body["code"], body["message"]


def answered(response):
    """The same of a plain request."""
    error = response.json()["error"]
    return response.status_code, error["code"], error["message"]


def not_authorized(who, action, scope, conditioned=False):
    """Source: specs/azure-semantics.md, 3.4, rows 1 and 2."""
    lack = "authorization or an ABAC condition not fulfilled" if conditioned else "authorization"
    message = (
        f"The client '{who.client_id}' with object id '{who.principal_id}' does not have {lack} to perform action "
        f"'{action}' over scope '{scope}' or the scope is invalid. If access was recently granted, please refresh your "
        "credentials."
    )
    return 403, "AuthorizationFailed", message
