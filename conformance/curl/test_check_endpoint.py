"""The check endpoint by plain requests: what it answers, and what it does not let itself be asked.

keycard's own; docs/operate/check-endpoint.md says what each answer means. Behind a proxy: conformance/nginx.
"""

import urllib.parse

import pytest

import asking
import claims

MANAGEMENT, VAULT = "https://management.azure.com", "https://vault.azure.net"
READ, GET_SECRET = "Microsoft.KeyVault/vaults/read", "Microsoft.KeyVault/vaults/secrets/getSecret/action"
YES = 204


@pytest.fixture
def check(subject, administrator_token):
    """Asks about the administrator, who is Owner of the subscription and so has every action and no data action."""

    def check(*arguments, token=None, audience=MANAGEMENT, query="", **parameters):
        scope = f"/subscriptions/{subject['subscriptionId']}"
        asked = {"audience": audience, "action": READ, "scope": scope, **parameters}
        text = urllib.parse.urlencode({name: value for name, value in asked.items() if value is not None})
        bearer = asking.bearer(token or administrator_token(MANAGEMENT))
        return asking.curl(f"{subject['loopback']}/authorize?{text}{query}", *bearer, *arguments)

    return check


def test_who_may_is_told_so_with_its_ids(subject, check):
    answer = check()
    assert (answer.status, answer.body) == (YES, "")
    ids = {name.removeprefix("x-keycard-"): value for name, value in answer.headers.items() if name.startswith("x-keycard-")}
    administrator = subject["administrator"]
    assert ids == {
        "tenant-id": subject["tenantId"],
        "principal-id": administrator["objectId"],
        "client-id": administrator["clientId"],
    }
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-ms-request-id"]


def test_who_may_not_is_told_what_it_lacks(subject, check):
    answer = check(action=GET_SECRET)
    assert answer.status == 403
    error = answer.json()["error"]
    assert error["code"] == "AuthorizationFailed"
    assert f"'{subject['administrator']['objectId']}'" in error["message"] and f"'{GET_SECRET}'" in error["message"]
    assert not any(name.startswith("x-keycard-") for name in answer.headers)


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_the_method_does_not_matter(check, method):
    request = ("--http1.1", "--head") if method == "HEAD" else ("--request", method)
    assert check(*request).status == YES
    assert check(*request, action=GET_SECRET).status == 403


def test_a_refusal_of_head_has_no_body(check):
    """RFC 9110, section 9.3.2: over HTTP/2 a client breaks off when it has one."""
    assert check("--http2", "--head").status == YES
    assert check("--http2", "--head", action=GET_SECRET).status == 403


def test_a_proxy_that_knows_200_only_may_have_it(check):
    assert check(allowedStatus="200").status == 200
    assert check(allowedStatus="200", action=GET_SECRET).status == 403
    assert check(allowedStatus="500").status == 400


def test_an_action_is_looked_up_on_the_plane_where_it_is(check):
    assert check(isDataAction="false").status == YES
    assert check(isDataAction="true").status == 403
    assert check(action="Contoso.Orders/orders/read").status == 403
    assert check(action="Contoso.Orders/orders/read", isDataAction="false").status == YES


@pytest.mark.parametrize("audience", [VAULT, "https://storage.azure.com", "https://management.azure.com.evil.example", "x"])
def test_a_token_counts_for_its_audience_only(check, audience):
    answer = check(audience=audience)
    assert answer.status == 401
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


def test_without_a_good_token_there_is_a_challenge(subject, check, administrator_token):
    good = administrator_token(MANAGEMENT)
    spoilt = (claims.unsigned(good), claims.with_claims(good, oid=subject["vm"]["principalId"]), good[:-8] + "AAAAAAAA", "x")
    for token in spoilt:
        answer = check(token=token)
        assert answer.status == 401
        assert answer.headers["www-authenticate"].startswith("Bearer ")
    assert check("--header", "Authorization: Bearer x").status == 401


@pytest.mark.parametrize("missing", ["audience", "action", "scope"])
def test_each_parameter_has_to_be_there(check, missing):
    for value in (None, ""):
        answer = check(**{missing: value})
        assert (answer.status, answer.json()["error"]["code"]) == (400, "InvalidParameter")


@pytest.mark.parametrize("name", ["audience", "action", "scope", "isDataAction", "subOperation", "SCOPE", "sc%6Fpe"])
def test_no_parameter_stands_twice(check, name):
    """Whatever a proxy appends of its client's query overrules nothing, and hides nothing."""
    answer = check(isDataAction="false", subOperation="x", query=f"&original=/path?a=b&{name}=y")
    assert (answer.status, answer.json()["error"]["code"]) == (400, "InvalidParameter")
    assert check(query="&original=/path?a=b&c=d&c=e").status == YES


@pytest.mark.parametrize(
    "parameter",
    [{"action": "*"}, {"action": "Microsoft.KeyVault/*/read"}, {"scope": "/a/../b"}, {"isDataAction": "perhaps"}],
    ids=str,
)
def test_what_cannot_be_asked_is_refused(check, parameter):
    answer = check(**parameter)
    assert (answer.status, answer.json()["error"]["code"]) == (400, "InvalidParameter")
