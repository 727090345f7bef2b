"""Tokens from a virtual machine's metadata endpoint, for each Python client and each way to name an identity.

Source: Microsoft Learn, "How to use managed identities for Azure resources on an Azure VM to acquire an access token".
"""

import time

import pytest

import clients

VAULT = "https://vault.azure.net"
MANAGEMENT = "https://management.azure.com"
SELECTORS = {"client_id": "clientId", "object_id": "principalId", "resource_id": "id"}
REFUSAL_SECONDS_MAX = 5

each_client = pytest.mark.parametrize("acquire", clients.ALL.values(), ids=clients.ALL.keys())


@each_client
def test_no_selector_means_the_system_assigned_identity(subject, vm, acquire):
    claims = clients.claims(acquire(VAULT, None, "imds"))
    assert claims["oid"] == vm["principalId"]
    assert claims["aud"] == VAULT
    assert claims["tid"] == subject["tenantId"]
    assert claims["xms_mirid"].lower() == vm["id"].lower()


@each_client
@pytest.mark.parametrize("selector", SELECTORS)
def test_each_selector_means_that_user_assigned_identity(subject, vm, acquire, selector):
    identity = subject["identities"]["attached"]
    claims = clients.claims(acquire(MANAGEMENT, (selector, identity[SELECTORS[selector]]), "imds"))
    assert claims["oid"] == identity["principalId"]
    assert claims["appid"] == identity["clientId"]
    assert claims["aud"] == MANAGEMENT
    assert claims["xms_mirid"].lower() == identity["id"].lower()


@each_client
def test_an_identity_that_is_not_assigned_is_refused_at_once(subject, vm, acquire):
    begin = time.monotonic()
    with pytest.raises(clients.Refused):
        acquire(VAULT, ("client_id", subject["identities"]["other"]["clientId"]), "imds")
    assert time.monotonic() - begin < REFUSAL_SECONDS_MAX


@each_client
def test_an_unknown_client_id_is_refused_at_once(vm, acquire):
    begin = time.monotonic()
    with pytest.raises(clients.Refused):
        acquire(VAULT, ("client_id", "00000000-0000-4000-8000-000000000000"), "imds")
    assert time.monotonic() - begin < REFUSAL_SECONDS_MAX


@each_client
def test_a_resource_nobody_serves_is_refused_at_once(vm, acquire):
    begin = time.monotonic()
    with pytest.raises(clients.Refused):
        acquire("https://nobody.invalid", None, "imds")
    assert time.monotonic() - begin < REFUSAL_SECONDS_MAX
