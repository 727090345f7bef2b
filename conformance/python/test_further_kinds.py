"""Tokens from the kinds of endpoint that a virtual machine has on request only, by each Python client that knows them.

The clients choose the source by the variables, as in production.
"""

import pytest

import clients

VAULT = "https://vault.azure.net"

# msal itself posts to http://localhost:50342 in Cloud Shell, whatever the variable says.
KNOWN = [(kind, client) for kind in ("cloud-shell", "azure-ml") for client in clients.ALL if (kind, client) != ("cloud-shell", "msal")]


@pytest.fixture
def kind(request, subject, monkeypatch):
    """This process is a workload on the virtual machine, at its endpoint of that kind."""
    vm = subject["vm"]
    for name in {**vm["variables"], **subject["site"]["variables"]}:
        monkeypatch.delenv(name, raising=False)
    for name, value in {**subject["trust"], **vm["kinds"][request.param]}.items():
        monkeypatch.setenv(name, value)
    return request.param


@pytest.mark.parametrize(("kind", "client"), KNOWN, indirect=["kind"])
def test_no_selector_means_the_machines_own_identity(subject, kind, client):
    claims = clients.claims(clients.ALL[client](VAULT, None, kind))
    assert claims["oid"] == subject["vm"]["principalId"]
    assert claims["aud"] == VAULT


@pytest.mark.parametrize(("kind", "client"), [pair for pair in KNOWN if pair[0] == "azure-ml"], indirect=["kind"])
def test_a_client_id_means_that_user_assigned_identity(subject, kind, client):
    identity = subject["identities"]["attached"]
    claims = clients.claims(clients.ALL[client](VAULT, ("client_id", identity["clientId"]), kind))
    assert claims["oid"] == identity["principalId"]


@pytest.mark.parametrize(("kind", "client"), [pair for pair in KNOWN if pair[0] == "azure-ml"], indirect=["kind"])
def test_a_wrong_secret_gets_nothing(kind, client, monkeypatch):
    monkeypatch.setenv("MSI_SECRET", "not-the-secret")
    with pytest.raises(clients.Refused):
        clients.ALL[client](VAULT, None, kind)
