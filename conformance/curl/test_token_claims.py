"""What stands in an access token. Numbers: specs/token-endpoints.md, section 9, Token.

Source: Microsoft Learn, "Access token claims reference".
"""

import re

import pytest

import asking
import claims

VAULT = "https://vault.azure.net"


@pytest.fixture(scope="module")
def token(metadata):
    return metadata.token().json()["access_token"]


@pytest.fixture(scope="module")
def said(token):
    return claims.claims(token)


def test_a_managed_identitys_token_says_so(subject, said):
    """60."""
    assert said["ver"] == "1.0"
    assert (said["appidacr"], said["idtyp"]) == ("2", "app")
    assert re.fullmatch(asking.GUID, said["appid"])
    assert said["oid"] == said["sub"] == subject["vm"]["principalId"]
    assert said["tid"] == subject["tenantId"]
    assert said["idp"] == said["iss"]


def test_the_issuer_is_the_one_discovery_names(subject, said):
    """60. Microsoft's own name where the subject is reached by Microsoft's names."""
    url = f"{subject['authority']}/{subject['tenantId']}/.well-known/openid-configuration"
    assert said["iss"] == asking.curl(url).json()["issuer"]
    if subject["unmodified"]:
        assert said["iss"] == f"https://sts.windows.net/{subject['tenantId']}/"


def test_every_minted_token_is_unique(metadata):
    """60."""
    tokens = [metadata.token(bypass_cache="true").json()["access_token"] for _ in range(3)]
    assert len({claims.claims(token)["uti"] for token in tokens}) == 3


def test_the_header_names_the_key(token):
    """59."""
    head = claims.header(token)
    assert (head["typ"], head["alg"]) == ("JWT", "RS256")
    assert head["kid"] == head["x5t"]


def test_a_system_assigned_identitys_token_names_its_machine(subject, said):
    """61. The segment `resourcegroups` is lower case in these claims."""
    assert said["xms_mirid"].lower() == subject["vm"]["id"].lower()
    assert said["xms_az_rid"].lower() == subject["vm"]["id"].lower()
    assert "/resourcegroups/" in said["xms_mirid"]


def test_a_user_assigned_identitys_token_names_itself_and_the_machine(subject, metadata):
    """61."""
    identity = subject["identities"]["attached"]
    said = claims.claims(metadata.token(client_id=identity["clientId"]).json()["access_token"])
    assert said["xms_mirid"].lower() == identity["id"].lower()
    assert said["xms_az_rid"].lower() == subject["vm"]["id"].lower()


def test_an_application_with_a_secret_is_told_apart(administrator_token):
    """60: `appidacr` 1 is a secret, 2 a certificate."""
    assert claims.claims(administrator_token(VAULT))["appidacr"] == "1"


def test_a_token_does_not_live_for_ever(said):
    """The brief, row 7: 1 h to 24 h, with the five minutes of `nbf` on top."""
    assert 3600 <= said["exp"] - said["iat"] <= 86400 + 300
    assert said["nbf"] <= said["iat"] < said["exp"]
