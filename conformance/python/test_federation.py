"""Workload identity federation through azure-identity (both flavours) and msal: a token file as Kubernetes projects it.

Source: Microsoft Learn, "Use Microsoft Entra Workload ID with Azure Kubernetes Service"; "Azure Identity client library for
Python", WorkloadIdentityCredential and ClientAssertionCredential. Numbers: token-endpoints 53, data-planes 44 and 45.
"""

import asyncio
import time
import uuid

import azure.identity
import azure.identity.aio
import msal
import pytest
from azure.core.exceptions import ClientAuthenticationError

import clients
from issuer import AUDIENCE, Issuer

VAULT = "https://vault.azure.net"
SUBJECT = "system:serviceaccount:orders:api"


@pytest.fixture(scope="module")
def issuer():
    running = Issuer()
    yield running
    running.close()


@pytest.fixture
def identity(subject, arm, issuer):
    """A user-assigned identity that takes the issuer's tokens for one service account."""
    path = f"{subject['resourceGroup']}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/f-{uuid.uuid4()}"
    made = arm.must("PUT", path, {"location": "eastus"})
    properties = {"issuer": issuer.url, "subject": SUBJECT, "audiences": [AUDIENCE]}
    arm.must("PUT", f"{path}/federatedIdentityCredentials/cluster", {"properties": properties})
    yield made["properties"]
    arm.must("DELETE", path)


@pytest.fixture
def reach(subject):
    """An own authority is not one of the hosts that the clients look up at Microsoft's discovery service."""
    return {"authority": subject["authority"], "disable_instance_discovery": True}


@pytest.fixture
def token_file(tmp_path):
    return tmp_path / "azure-identity-token"


@pytest.fixture
def pod(subject, identity, token_file, monkeypatch):
    """What the webhook of AKS injects; the authority has a final slash there."""
    monkeypatch.setenv("AZURE_CLIENT_ID", identity["clientId"])
    monkeypatch.setenv("AZURE_TENANT_ID", subject["tenantId"])
    monkeypatch.setenv("AZURE_FEDERATED_TOKEN_FILE", str(token_file))
    monkeypatch.setenv("AZURE_AUTHORITY_HOST", f"{subject['authority']}/")


def assert_is_identity(token, identity):
    claims = clients.claims(token)
    assert claims["oid"] == identity["principalId"]
    assert claims["appid"] == identity["clientId"]
    assert claims["aud"] == VAULT


@pytest.mark.parametrize("ending", ["", "\n"], ids=["bare", "newline"])
def test_a_workload_gets_a_token_by_its_environment(identity, issuer, pod, token_file, ending):
    """53: the file is sent as it is, final newline and all."""
    token_file.write_text(issuer.token(SUBJECT) + ending)
    with azure.identity.WorkloadIdentityCredential(disable_instance_discovery=True) as credential:
        assert_is_identity(credential.get_token(f"{VAULT}/.default").token, identity)


@pytest.mark.parametrize("ending", ["", "\n"], ids=["bare", "newline"])
def test_a_workload_gets_a_token_on_aiohttp(identity, issuer, pod, token_file, ending):
    async def acquire():
        async with azure.identity.aio.WorkloadIdentityCredential(disable_instance_discovery=True) as credential:
            return (await credential.get_token(f"{VAULT}/.default")).token

    token_file.write_text(issuer.token(SUBJECT) + ending)
    assert_is_identity(asyncio.run(acquire()), identity)


def test_an_expired_file_is_refused_and_its_successor_taken(issuer, identity, pod, token_file):
    """45: the kubelet rotates the file; what was in it before counts until its end and no longer."""
    past = int(time.time()) - 3600
    token_file.write_text(issuer.token(SUBJECT, iat=past, nbf=past, exp=past + 600))
    with azure.identity.WorkloadIdentityCredential(disable_instance_discovery=True) as credential:
        with pytest.raises(ClientAuthenticationError, match="AADSTS700024"):
            credential.get_token(f"{VAULT}/.default")
    token_file.write_text(issuer.token(SUBJECT))
    with azure.identity.WorkloadIdentityCredential(disable_instance_discovery=True) as credential:
        assert_is_identity(credential.get_token(f"{VAULT}/.default").token, identity)


@pytest.mark.parametrize(
    ("account", "claims", "number"),
    [
        (SUBJECT, {"iss": "https://other.example"}, 700211),
        (SUBJECT, {"aud": "https://other.example"}, 700212),
        ("system:serviceaccount:orders:other", {}, 700213),
        (SUBJECT.upper(), {}, 7002138),
    ],
    ids=["issuer", "audience", "subject", "case"],
)
def test_each_claim_that_differs_has_its_own_number(subject, identity, issuer, reach, account, claims, number):
    """44"""
    credential = azure.identity.ClientAssertionCredential(
        subject["tenantId"], identity["clientId"], lambda: issuer.token(account, **claims), **reach
    )
    with credential, pytest.raises(ClientAuthenticationError, match=f"AADSTS{number}:"):
        credential.get_token(f"{VAULT}/.default")


def test_an_assertion_of_the_programs_own_gets_a_token(subject, identity, issuer, reach):
    credential = azure.identity.ClientAssertionCredential(
        subject["tenantId"], identity["clientId"], lambda: issuer.token(SUBJECT), **reach
    )
    with credential:
        assert_is_identity(credential.get_token(f"{VAULT}/.default").token, identity)


def test_an_assertion_of_the_programs_own_gets_a_token_on_aiohttp(subject, identity, issuer, reach):
    async def acquire():
        credential = azure.identity.aio.ClientAssertionCredential(
            subject["tenantId"], identity["clientId"], lambda: issuer.token(SUBJECT), **reach
        )
        async with credential:
            return (await credential.get_token(f"{VAULT}/.default")).token

    assert_is_identity(asyncio.run(acquire()), identity)


def test_msal_gets_a_token_by_assertion(subject, identity, issuer):
    client = msal.ConfidentialClientApplication(
        identity["clientId"],
        client_credential={"client_assertion": issuer.token(SUBJECT)},
        authority=f"{subject['authority']}/{subject['tenantId']}",
        instance_discovery=False,
    )
    answer = client.acquire_token_for_client([f"{VAULT}/.default"])
    assert "access_token" in answer, answer
    assert_is_identity(answer["access_token"], identity)
