"""A service that knows nothing of keycard is guarded by its roles: nginx asks the check endpoint for each request.

Source: nginx, "Module ngx_http_auth_request_module"; docs/operate/check-endpoint.md, which shows the same configuration.
"""

import json
import pathlib
import uuid

import pytest

import asking
from administration import DEFINITIONS, assign
from commands import follow
from proxy import CONFIGURATION, nginx

AUDIENCE = "https://storage.azure.com"
READ, WRITE = "Contoso.Orders/orders/read", "Contoso.Orders/orders/write"
PAGE = pathlib.Path(__file__).parents[2] / "docs" / "operate" / "check-endpoint.md"


@pytest.fixture(scope="module")
def roles(subject, arm, shops):
    """Custom roles with actions of the platform team's own, by action."""
    made = {}
    for action in (READ, WRITE):
        role = str(uuid.uuid4())
        properties = {
            "roleName": f"{action} {role}",
            "permissions": [{"dataActions": [action]}],
            "assignableScopes": [shops],
        }
        arm.must("PUT", f"{shops}/{DEFINITIONS}/{role}", {"properties": properties})
        made[action] = role
    return made


@pytest.fixture
def give(subject, arm, roles):
    def give(action, someone, scope):
        return assign(subject, arm, roles[action], someone.principal_id, scope)["id"]

    return give


def token(someone, audience=AUDIENCE):
    return someone.credential.get_token(f"{audience}/.default").token


def ask(proxy, path, someone=None, *arguments, audience=AUDIENCE):
    authorization = asking.bearer(token(someone, audience)) if someone else ()
    return asking.curl(f"{proxy}{path}", *authorization, *arguments)


def shop(shops, name):
    return f"{shops}/providers/Contoso.Orders/shops/{name}"


def test_the_manual_shows_the_configuration_that_is_tested():
    assert f"```nginx\n{CONFIGURATION.read_text()}```\n" in PAGE.read_text()


def test_without_a_token_there_is_a_challenge_and_no_answer(subject, proxy, orders):
    before = len(orders.seen)
    answer = ask(proxy, "/shops/north/orders")
    assert answer.status == 401
    assert answer.headers["www-authenticate"].startswith("Bearer ")
    assert len(orders.seen) == before


def test_a_role_counts_from_the_next_request_on_and_its_end_too(arm, proxy, orders, shops, workload, give):
    someone, before = workload(), len(orders.seen)
    assert ask(proxy, "/shops/north/orders", someone).status == 403
    assert len(orders.seen) == before
    given = give(READ, someone, shop(shops, "north"))
    answer = ask(proxy, "/shops/north/orders/7?page=2", someone)
    assert answer.status == 200
    seen = answer.json()
    assert (seen["method"], seen["path"]) == ("GET", "/shops/north/orders/7?page=2")
    assert seen["headers"]["x-keycard-principal-id"] == someone.principal_id
    assert seen["headers"]["x-keycard-client-id"] == someone.client_id
    assert "authorization" not in seen["headers"]
    arm.must("DELETE", given)
    assert ask(proxy, "/shops/north/orders/7?page=2", someone).status == 403


def test_a_refusal_can_be_explained(subject, arm, keycard, proxy, shops, roles, workload):
    someone = workload()
    answer = ask(proxy, "/shops/north/orders", someone)
    assert answer.status == 403
    (explained,) = keycard.json("why", answer.headers["x-ms-request-id"])
    assert (explained["action"], explained["scope"]) == (READ, shop(shops, "north"))
    assert explained["advice"]["role"]["id"].endswith(roles[READ])
    follow(subject, arm, explained["advice"]["command"])
    assert ask(proxy, "/shops/north/orders", someone).status == 200


def test_each_shop_and_each_method_is_asked_about_by_itself(proxy, shops, workload, give):
    clerk, manager = workload(), workload()
    give(READ, clerk, shop(shops, "north"))
    give(READ, manager, shops)
    give(WRITE, manager, shop(shops, "north"))
    post = asking.json_body("POST", {"order": 1})
    assert ask(proxy, "/shops/north/orders", clerk).status == 200
    assert ask(proxy, "/shops/south/orders", clerk).status == 403
    assert ask(proxy, "/shops/northern/orders", clerk).status == 403
    assert ask(proxy, "/shops/north/orders", clerk, *post).status == 403
    assert ask(proxy, "/shops/south/orders", manager).status == 200
    written = ask(proxy, "/shops/north/orders", manager, *post)
    assert (written.status, json.loads(written.json()["body"])) == (200, {"order": 1})
    for method in ("POST", "PUT", "DELETE"):
        assert ask(proxy, "/shops/south/orders", manager, "--request", method).status == 403


def test_a_machines_own_identity_is_known_by_its_token_from_the_metadata_service(
    subject, arm, proxy, shops, roles
):
    """The VM with a system-assigned identity; its token as the documentation gets it."""
    query = f"/metadata/identity/oauth2/token?api-version=2018-02-01&resource={AUDIENCE}/"
    answer = asking.curl(f"{subject['imds']['vm-both']}{query}", "--header", "Metadata: true")
    bearer = asking.bearer(answer.json()["access_token"])
    assert asking.curl(f"{proxy}/shops/north/orders", *bearer).status == 403
    given = assign(subject, arm, roles[READ], subject["vm"]["principalId"], shops)
    seen = asking.curl(f"{proxy}/shops/north/orders", *bearer)
    assert seen.status == 200
    assert seen.json()["headers"]["x-keycard-principal-id"] == subject["vm"]["principalId"]
    arm.must("DELETE", given["id"])


@pytest.mark.parametrize("audience", ["https://vault.azure.net", "https://management.azure.com"])
def test_a_token_for_another_service_is_refused(proxy, shops, workload, give, audience):
    someone = workload()
    give(READ, someone, shops)
    answer = ask(proxy, "/shops/north/orders", someone, audience=audience)
    assert answer.status == 401
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


def test_what_is_no_token_is_refused(proxy, shops, workload, give):
    someone = workload()
    give(READ, someone, shops)
    good = token(someone)
    for spoilt in ("nonsense", good[:-8] + "AAAAAAAA", good.rsplit(".", 1)[0] + ".", f"{good} {good}"):
        assert asking.curl(f"{proxy}/shops/north/orders", *asking.bearer(spoilt)).status == 401
    twice = (*asking.bearer(good), *asking.bearer("nonsense"))
    assert asking.curl(f"{proxy}/shops/north/orders", *twice).status in (400, 401)


def test_a_client_cannot_ask_about_something_else(proxy, orders, shops, workload, give):
    """Neither by parameters nor by headers; the ones that services behind proxies are known to look at among them."""
    someone = workload()
    give(READ, someone, shop(shops, "north"))
    before, north = len(orders.seen), shop(shops, "north")
    queries = [
        f"?scope={north}",
        f"?action={READ}&scope={north}&audience={AUDIENCE}",
        f"?x=%26scope={north}",
        f"?isDataAction=false&subOperation=x&SCOPE={north}",
    ]
    for query in queries:
        assert ask(proxy, f"/shops/south/orders{query}", someone).status == 403, query
    headers = {
        "X-Original-URI": "/shops/north/orders",
        "X-Original-URL": "/shops/north/orders",
        "X-Forwarded-Uri": "/shops/north/orders",
        "X-Rewrite-URL": "/shops/north/orders",
        "X-Original-Method": "GET",
        "X-HTTP-Method-Override": "GET",
        "Scope": north,
        "Action": READ,
        "Host": "authorize.keycard.localhost",
    }
    for name, value in headers.items():
        assert ask(proxy, "/shops/south/orders", someone, "--header", f"{name}: {value}").status == 403, name
    assert ask(proxy, "/shops/north/orders", someone, "--request", "POST", "--header", "X-HTTP-Method-Override: GET").status == 403
    assert len(orders.seen) == before


def test_the_service_is_asked_for_what_keycard_was_asked_about(proxy, orders, shops, workload, give):
    someone = workload()
    give(READ, someone, shop(shops, "north"))
    before = len(orders.seen)
    for path in (
        "/shops/north/../south/orders",
        "/shops/north/orders/../../south/orders",
        "/shops/north/%2e%2e/south/orders",
        "/shops/north%2f..%2fsouth/orders",
        "/shops//south/orders",
        "/shops/SOUTH/orders",
        "/shops/north&scope=x/orders",
        "/shops/north%26scope=x/orders",
        "/shops/north%3fx/orders",
        "/shops/north%0d%0ax/orders",
        "/shops/north%20/orders",
    ):
        assert ask(proxy, path, someone).status in (400, 403, 404), path
    assert len(orders.seen) == before
    for path in ("/shops/south/../north/orders", "/shops/south%2f..%2fnorth/orders", "/shops//north/orders"):
        assert ask(proxy, path, someone).json()["path"] == "/shops/north/orders", path


def test_a_client_cannot_name_itself(proxy, shops, workload, give):
    someone = workload()
    give(READ, someone, shops)
    forged = []
    for name in ("X-Keycard-Principal-Id", "x-keycard-client-id", "X-Keycard-Tenant-Id", "X_Keycard_Principal_Id"):
        forged += ["--header", f"{name}: forged"]
    seen = ask(proxy, "/shops/north/orders", someone, *forged).json()["headers"]
    assert seen["x-keycard-principal-id"] == someone.principal_id
    assert seen["x-keycard-client-id"] == someone.client_id
    assert "forged" not in json.dumps(seen)
    assert ask(proxy, "/shops/north/orders", None, *forged).status == 401


def test_the_way_to_keycard_is_not_open_to_clients(proxy, shops, workload, give):
    someone = workload()
    give(READ, someone, shops)
    for path in ("/.keycard", "/.keycard?scope=/", "/authorize", "/"):
        assert ask(proxy, path, someone).status == 404


@pytest.mark.parametrize("fault", ["another authority", "another name", "nobody there"])
def test_who_cannot_be_asked_allows_nothing(tmp_path, subject, places, orders, shops, workload, give, fault):
    """A keycard that does not prove itself is not asked; the service stays closed."""
    someone, before = workload(), len(orders.seen)
    give(READ, someone, shops)
    changed = {
        "another authority": {"/etc/nginx/keycard-ca.pem": subject["administrator"]["certificateFile"]},
        "another name": {"proxy_ssl_name authorize.keycard.localhost": "proxy_ssl_name authorize.example"},
        "nobody there": {"127.0.0.1:8443": "127.0.0.1:1"},
    }[fault]
    with nginx(tmp_path, **{**places, **changed}) as url:
        assert ask(url, "/shops/north/orders", someone).status == 500
    assert len(orders.seen) == before
