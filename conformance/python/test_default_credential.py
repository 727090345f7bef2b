"""DefaultAzureCredential finds the managed identity by itself, as code without any configuration uses it.

Source: Microsoft Learn, "Credential chains in the Azure Identity library for Python".
"""

import asyncio

import azure.identity
import azure.identity.aio
import pytest

import clients

SCOPE = "https://vault.azure.net/.default"


@pytest.fixture(params=[None, "managedidentitycredential"], ids=["whole-chain", "managed-identity-only"])
def chain(request, monkeypatch):
    """Both ways to run it: the whole chain, which probes the endpoint, and the chain narrowed by variable, which doesn't."""
    if request.param is None:
        monkeypatch.delenv("AZURE_TOKEN_CREDENTIALS", raising=False)
    else:
        monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", request.param)


def sync(**options):
    with azure.identity.DefaultAzureCredential(**options) as credential:
        return credential.get_token(SCOPE).token


def aio(**options):
    async def acquire():
        async with azure.identity.aio.DefaultAzureCredential(**options) as credential:
            return (await credential.get_token(SCOPE)).token

    return asyncio.run(acquire())


each_flavour = pytest.mark.parametrize("acquire", [sync, aio])


@each_flavour
def test_a_virtual_machine_is_its_system_assigned_identity(vm, chain, acquire):
    assert clients.claims(acquire())["oid"] == vm["principalId"]


@each_flavour
def test_a_virtual_machine_is_the_identity_it_names(subject, vm, chain, acquire):
    identity = subject["identities"]["attached"]
    assert clients.claims(acquire(managed_identity_client_id=identity["clientId"]))["oid"] == identity["principalId"]


@each_flavour
def test_a_site_is_its_system_assigned_identity(site, chain, acquire):
    assert clients.claims(acquire())["oid"] == site["principalId"]
