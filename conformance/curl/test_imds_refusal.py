"""What the metadata endpoint refuses, and in which words. Numbers: specs/token-endpoints.md, section 9, IMDS v1.

Source: Microsoft Learn, "How to use managed identities for Azure resources on an Azure VM to acquire an access token",
error handling; "Azure Instance Metadata Service", security and authentication.
"""

import pytest

VAULT = "https://vault.azure.net"
GOOD = f"?api-version=2018-02-01&resource={VAULT}"


def assert_invalid_request(answer, description=None):
    """25. A lasting fault is 400 and nothing else: clients repeat 404, 410, 429 and 5xx for over a minute."""
    assert answer.status == 400, answer
    body = answer.json()
    assert body["error"] == "invalid_request"
    if description is not None:
        assert body["error_description"] == description
    else:
        assert body["error_description"]


@pytest.mark.parametrize("query", [GOOD, "?api-version=2018-02-01", "?resource=x", "", "?msi-res-id=x&colour=green"])
def test_without_the_metadata_header_nothing_else_is_looked_at(metadata, query):
    """8. The probes of the SDKs depend on this answer and on the absence of "Identity not found"."""
    assert_invalid_request(metadata.ask(query, header=None), "Required metadata header not specified")


@pytest.mark.parametrize("header", ["Metadata: false", "Metadata;", "Metadata: 1", "Metadata: true, true"])
def test_a_metadata_header_that_does_not_say_true_is_none(metadata, header):
    """9. A trailing `;` is how curl sends an empty header."""
    assert_invalid_request(metadata.ask(GOOD, header=header), "Required metadata header not specified")


@pytest.mark.parametrize("value", ["X-Forwarded-For: 10.0.0.1", "x-forwarded-for: ::1", "X-Forwarded-For;"])
def test_a_forwarded_request_is_refused(metadata, value):
    """10."""
    assert_invalid_request(metadata.ask(GOOD, "--header", value))


@pytest.mark.parametrize("version", ["", "&api-version=", "&api-version=2018-02-30", "&api-version=latest"])
def test_an_absent_or_unknown_api_version_is_refused(metadata, version):
    """11."""
    assert_invalid_request(metadata.ask(f"?resource={VAULT}{version}"))


@pytest.mark.parametrize("resource", ["", "&resource="])
def test_an_absent_resource_is_refused(metadata, resource):
    """12."""
    assert_invalid_request(metadata.ask(f"?api-version=2018-02-01{resource}"))


@pytest.mark.parametrize("selector", ["client_id", "object_id", "msi_res_id"])
def test_an_identity_of_another_machine_is_not_found(subject, metadata, selector):
    """15. It exists and is simply not assigned here."""
    other = subject["identities"]["other"]
    value = {"client_id": other["clientId"], "object_id": other["principalId"], "msi_res_id": other["id"]}[selector]
    assert_invalid_request(metadata.token(**{selector: value}), "Identity not found")


@pytest.mark.parametrize("selector", ["client_id", "object_id", "msi_res_id"])
@pytest.mark.parametrize("value", ["00000000-0000-4000-8000-000000000000", "nonsense", "/subscriptions/x/nonsense"])
def test_an_identity_nobody_has_is_not_found(metadata, selector, value):
    """15."""
    assert_invalid_request(metadata.token(**{selector: value}), "Identity not found")


def test_a_machine_without_identities_has_none_to_give(machines):
    """16."""
    assert_invalid_request(machines["vm-none"].token(), "Identity not found")


def test_several_user_assigned_identities_need_a_selector(machines):
    """18."""
    answer = machines["vm-two-users"].token()
    assert_invalid_request(answer)
    assert answer.json()["error_description"].startswith("Multiple user assigned identities exist, please specify")


def test_two_selectors_are_refused(subject, metadata):
    """20."""
    identity = subject["identities"]["attached"]
    assert_invalid_request(metadata.token(client_id=identity["clientId"], object_id=identity["principalId"]))


@pytest.mark.parametrize("name", ["resource", "api-version", "RESOURCE"])
def test_a_parameter_given_twice_is_refused(metadata, name):
    """20."""
    value = {"resource": VAULT, "RESOURCE": VAULT, "api-version": "2018-02-01"}[name]
    assert_invalid_request(metadata.ask(f"{GOOD}&{name}={value}"))


@pytest.mark.parametrize("resource", ["https://nobody.invalid", "https://vault.azure.net.nobody.invalid", "nonsense"])
def test_a_resource_nobody_serves_is_refused_in_entras_words(subject, metadata, resource):
    """21."""
    answer = metadata.token(resource)
    assert answer.status == 400
    body = answer.json()
    assert body["error"] == "invalid_resource"
    assert body["error_description"].startswith("AADSTS500011: The resource principal named ")
    assert resource in body["error_description"]
    assert body["error_codes"] == [500011]
    for name in ("timestamp", "trace_id", "correlation_id", "error_uri"):
        assert body[name], name


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_only_get_is_allowed(metadata, method):
    """22."""
    answer = metadata.ask(GOOD, "--request", method)
    assert answer.status == 405
    assert answer.json()["error"]


def test_an_unknown_path_is_not_found(metadata):
    """Section 2.1."""
    answer = metadata.ask(GOOD, path="/metadata/identity/oauth2/nothing")
    assert answer.status == 404
    assert answer.json()["error"]
