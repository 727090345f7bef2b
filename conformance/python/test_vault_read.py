"""A workload reads a secret with its identity and nothing else; the vault that did not grant it anything refuses.

The clients' own check of the challenge's resource against the vault's host is on, as by default.
Source: Microsoft Learn, "Tutorial: Use a Windows VM system-assigned managed identity to access Azure Key Vault".
"""

import asyncio

import azure.identity
import azure.identity.aio
import azure.keyvault.secrets.aio
import pytest
from azure.core.exceptions import HttpResponseError
from azure.keyvault.secrets import SecretClient


def sync(vault, name, **identity):
    with azure.identity.ManagedIdentityCredential(**identity) as credential, SecretClient(vault["url"], credential) as client:
        return client.get_secret(name).value


def aio(vault, name, **identity):
    async def read():
        async with (
            azure.identity.aio.ManagedIdentityCredential(**identity) as credential,
            azure.keyvault.secrets.aio.SecretClient(vault["url"], credential) as client,
        ):
            return (await client.get_secret(name)).value

    return asyncio.run(read())


each_flavour = pytest.mark.parametrize("read", [sync, aio])


@each_flavour
def test_a_secrets_user_reads_the_secret(subject, vm, read):
    assert read(subject["vaults"]["granted"], subject["secret"]["name"]) == subject["secret"]["value"]


@each_flavour
def test_a_vault_that_granted_nothing_refuses(subject, vm, read):
    with pytest.raises(HttpResponseError) as refusal:
        read(subject["vaults"]["denied"], subject["secret"]["name"])
    assert_forbidden_by_rbac(refusal.value)


@each_flavour
def test_another_identity_of_the_same_machine_is_refused(subject, vm, read):
    with pytest.raises(HttpResponseError) as refusal:
        client_id = subject["identities"]["attached"]["clientId"]
        read(subject["vaults"]["granted"], subject["secret"]["name"], client_id=client_id)
    assert_forbidden_by_rbac(refusal.value)


def assert_forbidden_by_rbac(error):
    """Source: Microsoft Learn, "Azure Key Vault REST API error codes", HTTP 403."""
    assert error.status_code == 403
    body = error.response.json()["error"]
    assert body["code"] == "Forbidden"
    assert body["innererror"]["code"] == "ForbiddenByRbac"
