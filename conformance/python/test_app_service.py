"""Tokens from a site's endpoint, for each Python client and each way to name an identity.

Source: Microsoft Learn, "How to use managed identities for App Service and Azure Functions", REST endpoint reference.
"""

import time

import pytest

import clients

VAULT = "https://vault.azure.net"
SELECTORS = {"client_id": "clientId", "object_id": "principalId", "resource_id": "id"}
REFUSAL_SECONDS_MAX = 5

each_client = pytest.mark.parametrize("acquire", clients.ALL.values(), ids=clients.ALL.keys())


@each_client
def test_no_selector_means_the_sites_own_identity(site, acquire):
    claims = clients.claims(acquire(VAULT, None, "app-service"))
    assert claims["oid"] == site["principalId"]
    assert claims["aud"] == VAULT
    assert claims["xms_mirid"].lower() == site["id"].lower()


@each_client
@pytest.mark.parametrize("selector", SELECTORS)
def test_each_selector_means_that_user_assigned_identity(subject, site, acquire, selector):
    identity = subject["identities"]["attached"]
    claims = clients.claims(acquire(VAULT, (selector, identity[SELECTORS[selector]]), "app-service"))
    assert claims["oid"] == identity["principalId"]


@each_client
def test_an_unknown_client_id_is_refused_at_once(site, acquire):
    begin = time.monotonic()
    with pytest.raises(clients.Refused):
        acquire(VAULT, ("client_id", "00000000-0000-4000-8000-000000000000"), "app-service")
    assert time.monotonic() - begin < REFUSAL_SECONDS_MAX


@each_client
def test_a_wrong_identity_header_gets_nothing(site, acquire, monkeypatch):
    monkeypatch.setenv("IDENTITY_HEADER", "not-the-header")
    with pytest.raises(clients.Refused):
        acquire(VAULT, None, "app-service")
