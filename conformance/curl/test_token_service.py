"""The token service: discovery, client credentials by secret, errors. Numbers: specs/token-endpoints.md, section 9, STS.

Source: Microsoft Learn, "Microsoft identity platform and the OAuth 2.0 client credentials flow"; OpenID Connect Discovery 1.0.
"""

import json
import re
import urllib.parse

import pytest

import asking
import claims

MANAGEMENT = "https://management.azure.com"
UNKNOWN = "00000000-0000-4000-8000-000000000000"


@pytest.fixture(scope="session")
def ask(subject, token_url):
    administrator = subject["administrator"]
    good = {
        "grant_type": "client_credentials",
        "client_id": administrator["clientId"],
        "client_secret": administrator["clientSecret"],
        "scope": f"{MANAGEMENT}/.default",
    }

    def ask(*arguments, url=token_url, **changed):
        form = {name: value for name, value in {**good, **changed}.items() if value is not None}
        return asking.curl(url, "--data", urllib.parse.urlencode(form), *arguments)

    return ask


def configuration(subject, tenant, version):
    return asking.curl(f"{subject['authority']}/{tenant}/{version}.well-known/openid-configuration")


def assert_aadsts(answer, status, error, code):
    """56."""
    assert answer.status == status, answer
    body = answer.json()
    assert (body["error"], body["error_codes"]) == (error, [code])
    assert body["error_description"].startswith(f"AADSTS{code}: ")
    for name in ("trace_id", "correlation_id"):
        assert re.fullmatch(asking.GUID, body[name])
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ", body["timestamp"])
    assert body["error_uri"].endswith(f"/error?code={code}")


@pytest.mark.parametrize("version", ["", "v2.0/"], ids=["v1", "v2"])
@pytest.mark.parametrize("member", ["issuer", "authorization_endpoint", "token_endpoint", "jwks_uri"])
def test_discovery_has_what_clients_require(subject, version, member):
    """47."""
    answer = configuration(subject, subject["tenantId"], version)
    assert answer.status == 200
    assert answer.json()[member].startswith("https://")


@pytest.mark.parametrize("tenant", ["common", "organizations"])
def test_discovery_answers_for_the_pseudo_tenants(subject, tenant):
    """47 (section 6.1; `az logout` asks for it)."""
    assert configuration(subject, tenant, "v2.0/").status == 200


def test_discovery_of_an_unknown_tenant_is_refused(subject):
    """47."""
    assert_aadsts(configuration(subject, UNKNOWN, "v2.0/"), 400, "invalid_request", 90002)


@pytest.mark.parametrize("version", ["", "v2.0/"], ids=["v1", "v2"])
def test_the_discovered_token_endpoint_is_where_one_asked(subject, ask, version):
    """48. Host and port preserved; a token is to be had there."""
    endpoint = configuration(subject, subject["tenantId"], version).json()["token_endpoint"]
    assert endpoint.startswith(f"{subject['authority']}/{subject['tenantId']}/")
    assert ask(url=endpoint, resource=MANAGEMENT).status == 200


def test_a_secret_gets_a_token(ask):
    """49."""
    answer = ask()
    assert answer.status == 200
    body = answer.json()
    assert body["token_type"] == "Bearer"
    assert type(body["expires_in"]) is int and type(body["ext_expires_in"]) is int
    assert "refresh_token" not in body
    assert "no-store" in answer.headers["cache-control"]


def test_an_unknown_client_is_refused(ask):
    """54."""
    assert_aadsts(ask(client_id=UNKNOWN), 400, "unauthorized_client", 700016)


def test_a_wrong_secret_is_refused(ask):
    """54."""
    assert_aadsts(ask(client_secret="wrong"), 401, "invalid_client", 7000215)


def test_a_secret_nobody_sent_is_missed(ask):
    """54 (section 6.5)."""
    assert_aadsts(ask(client_secret=None), 401, "invalid_client", 7000218)


@pytest.mark.parametrize("scope", [MANAGEMENT, f"{MANAGEMENT}/user_impersonation", "openid"])
def test_a_scope_without_default_is_refused(ask, scope):
    """55."""
    answer = ask(scope=scope)
    assert answer.json()["error_codes"][0] in (70011, 1002012)
    assert_aadsts(answer, 400, "invalid_scope", answer.json()["error_codes"][0])


def test_a_missing_parameter_is_named(ask):
    """55 (section 6.5)."""
    for name in ("grant_type", "client_id", "scope"):
        answer = ask(**{name: None})
        assert_aadsts(answer, 400, "invalid_request", 900144)
        assert name in answer.json()["error_description"]


def test_an_unknown_grant_is_refused(ask):
    """55 (section 6.5)."""
    assert_aadsts(ask(grant_type="magic"), 400, "unsupported_grant_type", 70003)


def test_an_unknown_resource_is_refused(ask):
    """55 (section 6.5)."""
    assert_aadsts(ask(scope="https://nobody.invalid/.default"), 400, "invalid_resource", 500011)


def test_the_first_version_takes_a_resource_and_writes_numbers_as_strings(subject, ask):
    """55."""
    url = f"{subject['authority']}/{subject['tenantId']}/oauth2/token"
    answer = ask(url=url, scope=None, resource=f"{MANAGEMENT}/")
    assert answer.status == 200
    body = answer.json()
    assert all(body[name].isdigit() for name in ("expires_in", "ext_expires_in", "expires_on", "not_before"))
    assert body["resource"] == f"{MANAGEMENT}/"


def test_a_double_slash_before_default_keeps_one(ask):
    """55 (section 6.2): `https://x//.default` is the audience `https://x/`."""
    token = ask(scope=f"{MANAGEMENT}//.default").json()["access_token"]
    assert claims.claims(token)["aud"] == f"{MANAGEMENT}/"


def test_the_callers_request_id_comes_back(ask):
    """56."""
    request_id = "11111111-2222-4333-8444-555555555555"
    answer = ask("--header", f"client-request-id: {request_id}", client_secret="wrong")
    assert answer.json()["correlation_id"] == request_id
    asked = ("--header", f"client-request-id: {request_id}", "--header", "return-client-request-id: true")
    assert ask(*asked).headers["client-request-id"] == request_id


def test_a_capability_asked_for_stands_in_the_token(ask):
    """57."""
    wanted = {"access_token": {"xms_cc": {"values": ["CP1"]}}}
    token = ask(claims=json.dumps(wanted)).json()["access_token"]
    assert claims.claims(token)["xms_cc"] == ["CP1"]
    assert "xms_cc" not in claims.claims(ask().json()["access_token"])


def test_a_query_on_the_token_url_is_ignored(ask, token_url):
    """58. The JavaScript client writes its request id there."""
    assert ask(url=f"{token_url}?client-request-id=1&grant_type=magic").status == 200


def test_unknown_fields_are_ignored(ask):
    """58 (section 6.2)."""
    assert ask(client_info="1", colour="green").status == 200


def test_a_token_is_asked_for_by_post(subject, token_url):
    """Section 6.2."""
    answer = asking.curl(token_url)
    assert answer.status in (400, 405)
    assert answer.json()["error"]


@pytest.mark.parametrize("version", ["", "v2.0/"], ids=["v1", "v2"])
def test_the_signing_key_is_published(subject, ask, version):
    """59. The audience accepts first-version tokens, so key id and thumbprint both stand in the header."""
    head = claims.header(ask().json()["access_token"])
    assert (head["typ"], head["alg"], head["x5t"]) == ("JWT", "RS256", head["kid"])
    keys = asking.curl(configuration(subject, subject["tenantId"], version).json()["jwks_uri"]).json()["keys"]
    published = {key["kid"]: key for key in keys}[head["kid"]]
    assert (published["kty"], published["use"]) == ("RSA", "sig")
    assert published["n"] and published["e"]
    assert not set(published) & {"d", "p", "q", "dp", "dq", "qi"}
