"""The administrator as an application: by secret and by certificate, through azure-identity (both flavours) and msal.

Source: Microsoft Learn, "Azure Identity client library for Python", service principals; "MSAL Python", confidential clients.
"""

import asyncio
import pathlib

import azure.identity
import azure.identity.aio
import msal
import pytest
from azure.core.exceptions import ClientAuthenticationError
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

import clients

MANAGEMENT = "https://management.azure.com"


@pytest.fixture
def administrator(subject):
    return subject["administrator"]


@pytest.fixture
def reach(subject):
    """An own authority is not one of the hosts that the clients look up at Microsoft's discovery service."""
    return {"authority": subject["authority"], "disable_instance_discovery": True}


def test_a_secret_gets_a_token(subject, administrator, reach):
    credential = azure.identity.ClientSecretCredential(
        subject["tenantId"], administrator["clientId"], administrator["clientSecret"], **reach
    )
    assert_is_administrator(credential.get_token(f"{MANAGEMENT}/.default").token, subject)


def test_a_wrong_secret_is_refused(subject, administrator, reach):
    credential = azure.identity.ClientSecretCredential(subject["tenantId"], administrator["clientId"], "wrong", **reach)
    with pytest.raises(ClientAuthenticationError, match="AADSTS7000215"):
        credential.get_token(f"{MANAGEMENT}/.default")


def test_a_certificate_gets_a_token(subject, administrator, reach):
    credential = azure.identity.CertificateCredential(
        subject["tenantId"], administrator["clientId"], administrator["certificateFile"], **reach
    )
    assert_is_administrator(credential.get_token(f"{MANAGEMENT}/.default").token, subject)


@pytest.mark.parametrize("send_chain", [False, True], ids=["thumbprint", "chain"])
def test_a_certificate_gets_a_token_on_aiohttp(subject, administrator, reach, send_chain):
    async def acquire():
        credential = azure.identity.aio.CertificateCredential(
            subject["tenantId"],
            administrator["clientId"],
            administrator["certificateFile"],
            send_certificate_chain=send_chain,
            **reach,
        )
        async with credential:
            return (await credential.get_token(f"{MANAGEMENT}/.default")).token

    assert_is_administrator(asyncio.run(acquire()), subject)


def test_a_secret_gets_a_token_on_aiohttp(subject, administrator, reach):
    async def acquire():
        credential = azure.identity.aio.ClientSecretCredential(
            subject["tenantId"], administrator["clientId"], administrator["clientSecret"], **reach
        )
        async with credential:
            return (await credential.get_token(f"{MANAGEMENT}/.default")).token

    assert_is_administrator(asyncio.run(acquire()), subject)


def test_msal_gets_a_token_by_secret(subject, administrator):
    answer = msal_token(subject, administrator["clientSecret"])
    assert_is_administrator(answer["access_token"], subject)
    assert isinstance(answer["expires_in"], int)


def test_msal_gets_a_token_by_certificate(subject, administrator):
    """With the public certificate msal signs PS256 and names the key by SHA-256."""
    pem = pathlib.Path(administrator["certificateFile"]).read_bytes()
    certificate = x509.load_pem_x509_certificate(pem)
    answer = msal_token(
        subject,
        {
            "private_key": private_key_pem(pem),
            "public_certificate": certificate.public_bytes(serialization.Encoding.PEM).decode(),
        },
    )
    assert_is_administrator(answer["access_token"], subject)


def test_msal_gets_a_token_by_sha1_thumbprint(subject, administrator):
    """With a thumbprint alone msal signs RS256 and names the key by SHA-1."""
    pem = pathlib.Path(administrator["certificateFile"]).read_bytes()
    thumbprint = x509.load_pem_x509_certificate(pem).fingerprint(hashes.SHA1()).hex()
    answer = msal_token(subject, {"private_key": private_key_pem(pem), "thumbprint": thumbprint})
    assert_is_administrator(answer["access_token"], subject)


def test_msal_presents_one_assertion_for_several_resources(subject, administrator):
    """msal signs one assertion and keeps it until it ends; the second resource is no replay of the first."""
    pem = pathlib.Path(administrator["certificateFile"]).read_bytes()
    thumbprint = x509.load_pem_x509_certificate(pem).fingerprint(hashes.SHA1()).hex()
    client = msal_application(subject, {"private_key": private_key_pem(pem), "thumbprint": thumbprint})
    for resource in [MANAGEMENT, "https://vault.azure.net", "https://graph.microsoft.com"]:
        answer = client.acquire_token_for_client([f"{resource}/.default"])
        assert answer.get("token_source") == "identity_provider", answer


def test_a_certificate_gets_tokens_for_several_resources(subject, administrator, reach):
    with azure.identity.CertificateCredential(
        subject["tenantId"], administrator["clientId"], administrator["certificateFile"], **reach
    ) as credential:
        for resource in [MANAGEMENT, "https://vault.azure.net", "https://graph.microsoft.com"]:
            assert clients.claims(credential.get_token(f"{resource}/.default").token)["aud"] == resource


def test_msal_caches_the_answer(subject, administrator):
    client = msal_application(subject, administrator["clientSecret"])
    first, second = (client.acquire_token_for_client([f"{MANAGEMENT}/.default"]) for _ in range(2))
    assert first["token_source"] == "identity_provider"
    assert second["token_source"] == "cache"


def private_key_pem(pem):
    key = serialization.load_pem_private_key(pem, None)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def msal_application(subject, credential):
    return msal.ConfidentialClientApplication(
        subject["administrator"]["clientId"],
        client_credential=credential,
        authority=f"{subject['authority']}/{subject['tenantId']}",
        instance_discovery=False,
    )


def msal_token(subject, credential):
    answer = msal_application(subject, credential).acquire_token_for_client([f"{MANAGEMENT}/.default"])
    assert "access_token" in answer, answer
    return answer


def assert_is_administrator(token, subject):
    claims = clients.claims(token)
    assert claims["oid"] == subject["administrator"]["objectId"]
    assert claims["appid"] == subject["administrator"]["clientId"]
    assert claims["aud"] == MANAGEMENT
