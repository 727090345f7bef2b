"""Which tokens a vault takes and which it refuses. Numbers: specs/data-planes.md, section 10, General and Key Vault.

Source: Microsoft Learn, "Authentication, requests and responses" (Key Vault); RFC 6750, section 3.1; RFC 8725.
"""

import time
import uuid

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

import asking
import claims
from vault import Vault, assert_challenge, assert_error, assert_token_refused

VAULT = "https://vault.azure.net"


@pytest.fixture(scope="module")
def granted(subject):
    return Vault(subject["vaults"]["granted"])


@pytest.fixture(scope="module")
def denied(subject):
    return Vault(subject["vaults"]["denied"])


@pytest.fixture(scope="module")
def token(metadata):
    return metadata.token(VAULT).json()["access_token"]


@pytest.fixture(scope="module")
def stranger():
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture
def path(subject):
    return f"/secrets/{subject['secret']['name']}"


def test_the_documented_request_reads_the_secret(subject, metadata, path):
    """The tutorial's pair of curl commands: a token from the metadata endpoint, then the secret."""
    token = metadata.ask("?api-version=2018-02-01&resource=https%3A%2F%2Fvault.azure.net").json()["access_token"]
    answer = asking.curl(f"{subject['vaults']['granted']['url']}{path}?api-version=2016-10-01", *asking.bearer(token))
    assert answer.status == 200
    assert answer.json()["value"] == subject["secret"]["value"]


SPOILT = {
    "without_a_signature": claims.unsigned,
    "with_an_empty_signature": lambda token: token.rsplit(".", 1)[0] + ".",
    "of_two_parts": lambda token: token.rsplit(".", 1)[0],
    "of_four_parts": lambda token: token + ".x",
    "with_another_principal": lambda token: claims.with_claims(token, oid=str(uuid.uuid4())),
    "with_a_longer_life": lambda token: claims.with_claims(token, exp=int(time.time()) + 10**8),
    "with_a_spoilt_signature": lambda token: token[:-8] + ("AAAAAAAA" if token[-8:] != "AAAAAAAA" else "BBBBBBBB"),
    "that_is_nonsense": lambda token: "nonsense",
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT.keys())
def test_a_token_that_was_tampered_with_is_refused(subject, granted, path, token, spoil):
    """1."""
    answer = granted.ask(path, None, "--header", f"Authorization: Bearer {spoil(token)}")
    assert_token_refused(answer, subject, granted)


FORGED = {
    "by_a_strange_key": {},
    "that_has_expired": {"exp": int(time.time()) - 3600},
    "of_the_future": {"nbf": int(time.time()) + 3600, "exp": int(time.time()) + 7200},
    "of_a_strange_issuer": {"iss": "https://sts.example.com/"},
}


@pytest.mark.parametrize("changed", FORGED.values(), ids=FORGED.keys())
def test_a_token_signed_by_a_stranger_is_refused(subject, granted, path, token, stranger, changed):
    """1. It names the real key id; only the signature tells."""
    forged = claims.with_foreign_signature(token, stranger, **changed)
    assert_token_refused(granted.ask(path, forged), subject, granted)


@pytest.mark.parametrize("resource", ["https://management.azure.com", "https://storage.azure.com"])
def test_a_token_for_another_service_is_refused(subject, granted, path, metadata, resource):
    """2."""
    token = metadata.token(resource).json()["access_token"]
    assert_token_refused(granted.ask(path, token), subject, granted)


@pytest.mark.parametrize("header", ["Basic {}", "Token {}", "{}", "Bearer", "Bearer{}"])
def test_what_is_no_bearer_token_is_none(subject, granted, path, token, header):
    """1."""
    answer = granted.ask(path, None, "--header", f"Authorization: {header.format(token)}")
    assert_challenge(answer, subject, granted)


@pytest.mark.parametrize("resource", [VAULT, f"{VAULT}/"])
def test_both_spellings_of_the_audience_are_taken(granted, path, metadata, resource):
    """3."""
    assert granted.ask(path, metadata.token(resource).json()["access_token"]).status == 200


def test_the_resource_of_the_challenge_is_an_audience(granted, path, metadata):
    """3, 9. What a vault asks for can be had and is taken."""
    challenge = granted.ask(path, None).headers["www-authenticate"]
    resource = challenge.split('resource="')[1].rstrip('"')
    assert granted.ask(path, metadata.token(resource).json()["access_token"]).status == 200


REQUESTS = {
    "an existing secret": ("/secrets/{name}", ()),
    "a missing secret": ("/secrets/missing", ()),
    "a list": ("/secrets", ()),
    "versions": ("/secrets/{name}/versions", ()),
    "a write": ("/secrets/{name}", asking.json_body("PUT", {"value": "x"})),
    "a deletion": ("/secrets/{name}", ("--request", "DELETE")),
    "deleted secrets": ("/deletedsecrets", ()),
}


@pytest.mark.parametrize("asked", REQUESTS.values(), ids=REQUESTS.keys())
def test_without_a_grant_everything_is_forbidden_alike(subject, denied, token, asked):
    """4. Existing and missing objects must not be told apart."""
    path, arguments = asked
    answer = denied.ask(path.format(name=subject["secret"]["name"]), token, *arguments)
    assert_error(answer, 403, "Forbidden", "ForbiddenByRbac")


@pytest.mark.parametrize("asked", [REQUESTS["a write"], REQUESTS["a deletion"]], ids=["write", "delete"])
def test_a_reader_may_not_write(subject, granted, token, asked):
    """4. Secrets User reads and nothing else."""
    path, arguments = asked
    answer = granted.ask(path.format(name=subject["secret"]["name"]), token, *arguments)
    assert_error(answer, 403, "Forbidden", "ForbiddenByRbac")
    assert granted.ask(f"/secrets/{subject['secret']['name']}", token).json()["value"] == subject["secret"]["value"]


def test_the_administrator_of_the_cloud_may_not_read_what_was_not_granted(subject, denied, officer):
    """4. Owner of the subscription is no right to secrets."""
    assert_error(denied.ask("/secrets", officer), 403, "Forbidden", "ForbiddenByRbac")
