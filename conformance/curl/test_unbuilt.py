"""What a face does not have, it says: 404, 400 or 501 in its own error shape with a code, never silence, never success.

Source: the contract, "Settled meanings". A feature that gets built leaves this list and gets tests of its own.
"""

import pytest

import asking
from vault import Vault

HONEST = (400, 404, 501)
RESOURCE_GROUP = "/subscriptions/{subscriptionId}/resourceGroups/conformance"

VAULT_REQUESTS = {
    "backup": ("/secrets/any/backup", "POST"),
    "restore": ("/secrets/restore", "POST"),
    "a key": ("/keys/any/create", "POST"),
    "keys": ("/keys", "GET"),
    "a certificate": ("/certificates/any/create", "POST"),
    "contacts": ("/certificates/contacts", "PUT"),
    "a colour": ("/colours/green", "GET"),
}

ARM_REQUESTS = {
    "a template spec": (f"{RESOURCE_GROUP}/providers/Microsoft.Resources/templateSpecs/any", "2022-02-01"),
    "a cloud service": (f"{RESOURCE_GROUP}/providers/Microsoft.Compute/cloudServices/any", "2022-09-04"),
    "a blob container": (
        f"{RESOURCE_GROUP}/providers/Microsoft.Storage/storageAccounts/any/blobServices/default/containers/any",
        "2023-05-01",
    ),
    "a colour": (f"{RESOURCE_GROUP}/providers/Microsoft.Colours/colours/green", "2024-01-01"),
}

METADATA_PATHS = ["/metadata/scheduledevents", "/metadata/loadbalancer", "/metadata/colours", "/"]


@pytest.mark.parametrize("asked", VAULT_REQUESTS.values(), ids=VAULT_REQUESTS.keys())
def test_a_vault_says_what_it_does_not_have(subject, officer, asked):
    path, method = asked
    answer = Vault(subject["vaults"]["granted"]).ask(path, officer, *asking.json_body(method, {}))
    assert answer.status in HONEST, answer
    assert answer.json()["error"]["code"] and answer.json()["error"]["message"]


@pytest.mark.parametrize("method", ["GET", "PUT"])
@pytest.mark.parametrize("asked", ARM_REQUESTS.values(), ids=ARM_REQUESTS.keys())
def test_resource_manager_says_what_it_does_not_have(subject, administrator_token, asked, method):
    path, api_version = asked
    url = f"{subject['resourceManager']}{path.format(**subject)}?api-version={api_version}"
    token = administrator_token("https://management.azure.com")
    answer = asking.curl(url, *asking.bearer(token), *asking.json_body(method, {"location": "eastus", "properties": {}}))
    assert answer.status in HONEST, answer
    assert answer.json()["error"]["code"] and answer.json()["error"]["message"]


@pytest.mark.parametrize("path", METADATA_PATHS)
def test_a_metadata_endpoint_says_what_it_does_not_have(metadata, path):
    answer = metadata.ask("?api-version=2021-02-01", path=path)
    assert answer.status in HONEST, answer
    assert answer.json()["error"]


def test_an_unknown_host_is_not_served(subject):
    """One listener, routed by Host: a name of nobody's is nobody's."""
    answer = asking.curl(f"{subject['loopback']}/", "--http1.1", "--header", "Host: www.example.com")
    assert answer.status in HONEST, answer
    assert answer.json()["error"]
