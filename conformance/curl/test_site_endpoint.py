"""The App Service endpoint by plain requests. Numbers: specs/token-endpoints.md, section 9, App Service.

Source: Microsoft Learn, "How to use managed identities for App Service and Azure Functions", REST endpoint reference.
"""

import re
import urllib.parse

import pytest

import asking
import claims

VAULT = "https://vault.azure.net"
SELECTORS = {"client_id": "clientId", "object_id": "principalId", "principal_id": "principalId", "mi_res_id": "id"}


def asker(variables):
    def ask(*arguments, header="X-IDENTITY-HEADER", secret=variables["IDENTITY_HEADER"], separator="?", **query):
        query = {"api-version": "2019-08-01", "resource": VAULT, **query}
        query = urllib.parse.urlencode({name: value for name, value in query.items() if value is not None})
        headers = ("--header", f"{header}: {secret}") if secret else ()
        return asking.curl(f"{variables['IDENTITY_ENDPOINT']}{separator}{query}", *headers, *arguments)

    return ask


@pytest.fixture(scope="session")
def ask(subject):
    return asker(subject["site"]["variables"])


def assert_error(answer, status):
    """33, 29."""
    assert answer.status == status, answer
    body = answer.json()
    assert body["statusCode"] == status
    assert body["message"] and isinstance(body["message"], str)
    assert body["correlationId"]


def test_the_documented_request_is_answered(subject, ask):
    """28."""
    answer = ask()
    assert answer.status == 200
    body = answer.json()
    assert body["expires_on"].isdigit()
    assert (body["token_type"], body["resource"]) == ("Bearer", VAULT)
    assert re.fullmatch(asking.GUID, body["client_id"])
    assert claims.claims(body["access_token"])["oid"] == subject["site"]["principalId"]


@pytest.mark.parametrize("secret", [None, "wrong"])
def test_without_the_right_header_nothing_is_given(ask, secret):
    """29."""
    assert_error(ask(secret=secret), 401)


@pytest.mark.parametrize("selector", SELECTORS)
def test_each_selector_names_the_identity(subject, ask, selector):
    """30."""
    identity = subject["identities"]["attached"]
    body = ask(**{selector: identity[SELECTORS[selector]]}).json()
    assert body["client_id"] == identity["clientId"]


def test_two_selectors_are_refused(subject, ask):
    """30."""
    identity = subject["identities"]["attached"]
    assert_error(ask(client_id=identity["clientId"], mi_res_id=identity["id"]), 400)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--header", "Metadata: true"),
        ("--header", "Content-Type: application/x-www-form-urlencoded;charset=utf-8"),
    ],
    ids=["metadata-header", "content-type"],
)
def test_what_some_clients_send_besides_is_tolerated(ask, arguments):
    """31."""
    assert ask(*arguments).status == 200


def test_a_slash_before_the_query_is_tolerated(ask):
    """31. The documentation's samples write it."""
    assert ask(separator="/?").status == 200


def test_the_old_dialect_gives_a_date(ask):
    """32. 2017-09-01: header `secret`, parameter `clientid`, a UTC date in Linux spelling."""
    answer = ask(header="secret", **{"api-version": "2017-09-01"})
    assert answer.status == 200
    assert re.fullmatch(r"\d\d/\d\d/\d{4} \d\d:\d\d:\d\d \+00:00", answer.json()["expires_on"])


def test_the_old_dialect_has_its_own_selector(subject, ask):
    """32."""
    identity = subject["identities"]["attached"]
    answer = ask(header="secret", **{"api-version": "2017-09-01", "clientid": identity["clientId"]})
    assert claims.claims(answer.json()["access_token"])["oid"] == identity["principalId"]


@pytest.mark.parametrize(
    "query",
    [
        {"resource": None},
        {"resource": "https://nobody.invalid"},
        {"api-version": None},
        {"api-version": "2018-02-01"},
        {"client_id": "00000000-0000-4000-8000-000000000000"},
    ],
    ids=lambda query: "-".join(f"{name}-{value}" for name, value in query.items()),
)
def test_a_bad_request_is_refused_in_app_services_shape(ask, query):
    """33."""
    assert_error(ask(**query), 400)


def test_a_virtual_machine_may_have_such_an_endpoint_too(subject, ask):
    """28. The contract, `keycard env --as RESOURCE --kind app-service`; its header opens no other endpoint."""
    own = subject["vm"]["appService"]
    body = asker(own)().json()
    assert claims.claims(body["access_token"])["oid"] == subject["vm"]["principalId"]
    assert_error(ask(secret=own["IDENTITY_HEADER"]), 401)
