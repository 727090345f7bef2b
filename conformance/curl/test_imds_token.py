"""What the metadata endpoint answers when the request is right. Numbers: specs/token-endpoints.md, section 9, IMDS v1.

Source: Microsoft Learn, "How to use managed identities for Azure resources on an Azure VM to acquire an access token",
"Get a token using HTTP".
"""

import pytest

import asking
import claims

VAULT = "https://vault.azure.net"
# The seven of the documentation, and the identity that was chosen.
FIELDS = (
    "access_token",
    "client_id",
    "expires_in",
    "expires_on",
    "ext_expires_in",
    "not_before",
    "resource",
    "token_type",
)


def test_the_request_of_the_documentation_is_answered(metadata):
    """1. The sample request, letter by letter (`-H Metadata:true`, resource encoded with its final slash)."""
    query = "?api-version=2018-02-01&resource=https%3A%2F%2Fmanagement.azure.com%2F"
    answer = metadata.ask(query, header="Metadata:true")
    assert answer.status == 200
    assert answer.json()["resource"] == "https://management.azure.com/"


def test_every_documented_field_is_a_string(metadata):
    """1, 4."""
    body = metadata.token().json()
    assert {name: type(body.get(name)) for name in FIELDS} == dict.fromkeys(FIELDS, str)
    assert all(body[name].isdigit() for name in ("expires_in", "expires_on", "ext_expires_in", "not_before"))


@pytest.mark.parametrize("api_version", ["2018-02-01", "2019-08-01", "2021-02-01"])
def test_each_documented_api_version_is_known(metadata, api_version):
    """2. 2019-08-01 is what the Rust client sends."""
    assert metadata.token(api_version=api_version).status == 200


def test_a_final_slash_in_the_path_changes_nothing(metadata):
    """3. msal-node always sends it."""
    query = f"?api-version=2018-02-01&resource={VAULT}"
    with_slash = metadata.ask(query, path="/metadata/identity/oauth2/token/")
    assert with_slash.status == 200
    assert with_slash.json()["access_token"] == metadata.ask(query).json()["access_token"]


@pytest.mark.parametrize("resource", [VAULT, f"{VAULT}/", "https://management.azure.com", "https://management.azure.com/"])
def test_the_resource_is_echoed_and_becomes_the_audience(metadata, resource):
    """5, 62. The final slash or its absence included."""
    body = metadata.token(resource).json()
    assert body["token_type"] == "Bearer"
    assert body["resource"] == resource
    assert claims.claims(body["access_token"])["aud"] == resource


def test_the_body_and_the_token_agree_on_its_life(metadata):
    """6."""
    body = metadata.token().json()
    token = claims.claims(body["access_token"])
    assert (int(body["expires_on"]), int(body["not_before"])) == (token["exp"], token["nbf"])


def test_an_encoded_resource_and_a_plain_one_are_the_same(metadata):
    """7."""
    plain = metadata.ask(f"?api-version=2018-02-01&resource={VAULT}")
    encoded = metadata.ask("?api-version=2018-02-01&resource=https%3A%2F%2Fvault.azure.net")
    assert plain.status == encoded.status == 200
    assert plain.json()["access_token"] == encoded.json()["access_token"]


@pytest.mark.parametrize("value", ["true", "True", "TRUE"])
def test_the_metadata_header_may_be_written_in_any_case(metadata, value):
    """9. The documentation's own samples differ."""
    assert metadata.ask(f"?api-version=2018-02-01&resource={VAULT}", header=f"Metadata: {value}").status == 200


SELECTORS = {"client_id": "clientId", "object_id": "principalId", "msi_res_id": "id", "mi_res_id": "id"}


@pytest.mark.parametrize("change", [str, str.upper], ids=["as-is", "upper-case"])
@pytest.mark.parametrize("selector", SELECTORS)
def test_a_selector_names_the_identity_in_any_case(subject, metadata, selector, change):
    """13, 14."""
    identity = subject["identities"]["attached"]
    answer = metadata.token(**{selector: change(identity[SELECTORS[selector]])})
    assert answer.status == 200, answer
    assert claims.claims(answer.json()["access_token"])["oid"] == identity["principalId"]
    assert answer.json()["client_id"].lower() == identity["clientId"]


@pytest.mark.parametrize("selector", ["client_id", "object_id", "msi_res_id"])
def test_a_selector_is_echoed(subject, metadata, selector):
    """13."""
    value = subject["identities"]["attached"][SELECTORS[selector]]
    assert metadata.token(**{selector: value}).json()[selector].lower() == value.lower()


def test_a_parameter_name_may_be_written_in_any_case(subject, metadata):
    """13 (section 1.2: names are case-insensitive)."""
    identity = subject["identities"]["attached"]
    answer = metadata.ask(f"?API-Version=2018-02-01&Resource={VAULT}&Client_Id={identity['clientId']}")
    assert answer.status == 200
    assert answer.json()["client_id"].lower() == identity["clientId"]


def test_a_single_user_assigned_identity_needs_no_selector(subject, machines):
    """17."""
    answer = machines["vm-one-user"].token()
    assert answer.status == 200
    assert answer.json()["client_id"] == subject["identities"]["attached"]["clientId"]


def test_the_system_assigned_identity_needs_no_selector(subject, metadata):
    """19."""
    assert claims.claims(metadata.token().json()["access_token"])["oid"] == subject["vm"]["principalId"]


def test_every_answer_says_it_is_imds(metadata):
    """24. Clients look for the word before they trust the endpoint."""
    for answer in (metadata.token(), metadata.ask(header=None), metadata.ask(path="/nothing")):
        assert "IMDS" in answer.headers.get("server", ""), answer


def test_unknown_headers_and_parameters_are_ignored(metadata):
    """26."""
    query = f"?api-version=2018-02-01&resource={VAULT}&colour=green"
    assert metadata.ask(query, "--header", "X-Colour: green").status == 200


def test_a_cached_token_is_given_again_until_a_fresh_one_is_asked_for(metadata):
    """27."""
    first, second = (metadata.token().json()["access_token"] for _ in range(2))
    assert first == second
    fresh = metadata.token(bypass_cache="true").json()["access_token"]
    assert claims.claims(fresh)["uti"] != claims.claims(first)["uti"]


def test_cached_answers_are_never_throttled(metadata):
    """23. `standard` has no limit of 20 requests a second on cached answers (contract, settled meanings)."""
    url = f"{metadata.base}/metadata/identity/oauth2/token?api-version=2018-02-01&resource={VAULT}&number=[1-200]"
    status = asking.statuses(url, "--header", "Metadata: true")
    assert status == ["200"] * 200
