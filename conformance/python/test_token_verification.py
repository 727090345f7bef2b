"""A stranger verifies a token with an independent library, knowing nothing but what discovery says.

Source: OpenID Connect Discovery 1.0, sections 3 and 4; RFC 7519, section 7.2.
"""

import time

import jwt
import pytest
import requests

import clients

AUDIENCE = "https://vault.azure.net"


@pytest.fixture
def token(vm):
    return clients.sync(AUDIENCE, None, "imds")


def discovered(issuer):
    """The configuration found from the issuer's name alone, which must name itself in the same letters."""
    separator = "" if issuer.endswith("/") else "/"
    answer = requests.get(f"{issuer}{separator}.well-known/openid-configuration", timeout=10)
    assert answer.status_code == 200
    assert answer.json()["issuer"] == issuer
    return answer.json()


def verified(token, **expectations):
    issuer = clients.claims(token)["iss"]
    key = jwt.PyJWKClient(discovered(issuer)["jwks_uri"]).get_signing_key_from_jwt(token)
    required = ["exp", "nbf", "iat", "aud", "iss", "oid", "tid"]
    options = {"require": required, "verify_signature": True}
    return jwt.decode(token, key, algorithms=["RS256"], **{"audience": AUDIENCE, "issuer": issuer, **expectations}, options=options)


def test_a_token_verifies_from_discovery_alone(subject, vm, token):
    claims = verified(token)
    assert (claims["oid"], claims["tid"]) == (vm["principalId"], subject["tenantId"])
    assert claims["exp"] > time.time()


def test_a_token_is_for_its_audience_only(token):
    with pytest.raises(jwt.InvalidAudienceError):
        verified(token, audience="https://storage.azure.com")


def test_a_token_names_its_tenant_in_its_issuer(subject, token):
    issuer = clients.claims(token)["iss"]
    assert issuer.endswith(f"/{subject['tenantId']}/")
    if subject["unmodified"]:
        assert issuer == f"https://sts.windows.net/{subject['tenantId']}/"


def test_an_altered_token_does_not_verify(token):
    head, body, signature = token.split(".")
    altered = ".".join([head, body, signature[:-8] + ("A" * 8 if signature[-8:] != "A" * 8 else "B" * 8)])
    with pytest.raises(jwt.InvalidSignatureError):
        verified(altered)
