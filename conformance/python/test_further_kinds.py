"""Tokens from the kinds of endpoint that a virtual machine has on request only, by each Python client that knows them.

The clients choose the source by the variables, as in production.
"""

import json
import os
import pathlib

import pytest

import clients

VAULT = "https://vault.azure.net"
SECRETS = {"azure-ml": "MSI_SECRET", "service-fabric": "IDENTITY_HEADER"}
# Clients look for Arc's files in one directory of the machine, which only a namespace may cover.
IN_NAMESPACE = json.loads(pathlib.Path(os.environ["KEYCARD_SUBJECT"]).read_text())["unmodified"]
KINDS = ("service-fabric", "cloud-shell", "azure-ml", *(["arc"] if IN_NAMESPACE else []))

# msal itself posts to http://localhost:50342 in Cloud Shell, whatever the variable says.
KNOWN = [(kind, client) for kind in KINDS for client in clients.ALL if (kind, client) != ("cloud-shell", "msal")]


def known(*kinds):
    return pytest.mark.parametrize(("kind", "client"), [pair for pair in KNOWN if pair[0] in kinds], indirect=["kind"])


@pytest.fixture
def kind(request, subject, monkeypatch):
    """This process is a workload on the virtual machine, at its endpoint of that kind."""
    vm = subject["vm"]
    for name in {**vm["variables"], **subject["site"]["variables"]}:
        monkeypatch.delenv(name, raising=False)
    for name, value in {**subject["trust"], **vm["kinds"][request.param]}.items():
        monkeypatch.setenv(name, value)
    return request.param


@known(*KINDS)
def test_no_selector_means_the_machines_own_identity(subject, kind, client):
    claims = clients.claims(clients.ALL[client](VAULT, None, kind))
    assert claims["oid"] == subject["vm"]["principalId"]
    assert claims["aud"] == VAULT


@known("azure-ml", "arc")
def test_a_client_id_means_that_user_assigned_identity(subject, kind, client):
    identity = subject["identities"]["attached"]
    claims = clients.claims(clients.ALL[client](VAULT, ("client_id", identity["clientId"]), kind))
    assert claims["oid"] == identity["principalId"]


@known(*SECRETS)
def test_a_wrong_secret_gets_nothing(kind, client, monkeypatch):
    monkeypatch.setenv(SECRETS[kind], "not-the-secret")
    with pytest.raises(clients.Refused):
        clients.ALL[client](VAULT, None, kind)
