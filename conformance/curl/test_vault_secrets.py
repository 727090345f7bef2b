"""A vault's challenge and its secrets by plain requests. Numbers: specs/data-planes.md, section 10, Key Vault.

Source: Microsoft Learn, "Azure Key Vault REST API reference", secrets; "Azure Key Vault REST API error codes".
"""

import re
import time
import uuid

import pytest

import asking
from vault import Vault, assert_challenge, assert_error


@pytest.fixture(scope="module")
def vault(subject):
    return Vault(subject["vaults"]["granted"])


@pytest.fixture
def name():
    return f"secret-{uuid.uuid4()}"


CHALLENGED = {
    "a secret": ("/secrets/any", "api-version=7.4", ()),
    "a bad name": ("/secrets/b%20d_n%7Bme", "api-version=7.4", ()),
    "no api-version": ("/secrets/any", "", ()),
    "an unknown route": ("/colours/green", "api-version=7.4", ()),
    "an unsent body": ("/secrets/any", "api-version=7.4", ("--request", "PUT", "--header", "Content-Length: 0")),
    "a bad body": ("/secrets/any", "api-version=7.4", ("--request", "PUT", "--data", "{")),
    "the root": ("/", "api-version=7.4", ()),
    "a key": ("/keys/any/create", "api-version=7.4", ("--request", "POST", "--header", "Content-Length: 0")),
    "an unknown method": ("/secrets/any", "api-version=7.4", ("--request", "BREW")),
}


@pytest.mark.parametrize("asked", CHALLENGED.values(), ids=CHALLENGED.keys())
def test_whoever_brings_no_token_is_challenged_before_anything_is_looked_at(subject, vault, asked):
    """8, 9. One space after the comma, no final slash, the port of the request: all SDKs read this spelling only."""
    path, query, arguments = asked
    assert_challenge(vault.ask(path, None, *arguments, query=query), subject, vault)


@pytest.mark.parametrize("path", ["/secrets/{name}", "/secrets/{name}/"])
@pytest.mark.parametrize("parameter", ["api-version", "api%2Dversion"])
def test_the_latest_version_is_found_with_and_without_a_final_slash(vault, officer, name, path, parameter):
    """11."""
    vault.put(name, {"value": "latest"}, officer)
    answer = vault.ask(path.format(name=name), officer, query=f"{parameter}=7.4")
    assert answer.status == 200
    assert answer.json()["value"] == "latest"


@pytest.mark.parametrize("version", ["2016-10-01", "7.0", "7.4", "7.6", "2025-07-01", "2026-04-01", "2031-01-01"])
def test_every_known_version_is_served_and_later_ones_too(subject, vault, officer, version):
    """Section 2.4: the list grows about twice a year."""
    path = f"/secrets/{subject['secret']['name']}"
    assert vault.ask(path, officer, query=f"api-version={version}").status == 200


def test_a_missing_version_is_refused_once_the_caller_is_known(vault, officer):
    """Section 2.4."""
    assert_error(vault.ask("/secrets/any", officer, query=""), 400, "BadParameter")


def test_a_secret_has_the_documented_shape(vault, officer, name):
    """12."""
    answer = vault.put(name, {"value": "v", "contentType": "text/plain", "tags": {"a": "b"}}, officer)
    assert answer.status == 200
    body = answer.json()
    assert (body["value"], body["contentType"], body["tags"]) == ("v", "text/plain", {"a": "b"})
    assert re.fullmatch(f"{re.escape(vault.url)}/secrets/{name}/[0-9a-f]{{32}}", body["id"])
    attributes = body["attributes"]
    assert attributes["enabled"] is True
    assert type(attributes["created"]) is int and type(attributes["updated"]) is int
    assert attributes["recoveryLevel"]


def test_each_version_is_read_by_its_own_id(vault, officer, name):
    """12."""
    ids = [vault.put(name, {"value": value}, officer).json()["id"] for value in ("one", "two")]
    read = [vault.ask(each.removeprefix(vault.url), officer).json()["value"] for each in ids]
    assert read == ["one", "two"]
    versions = vault.ask(f"/secrets/{name}/versions", officer).json()["value"]
    assert {version["id"] for version in versions} == set(ids)


def test_lists_show_no_value_and_no_version(vault, officer, name):
    """12."""
    vault.put(name, {"value": "hidden-value"}, officer)
    for path in (f"/secrets/{name}/versions", "/secrets"):
        answer = vault.ask(path, officer, query="api-version=7.4&maxresults=25")
        assert answer.status == 200
        assert "hidden-value" not in answer.body
        assert all("value" not in item for item in answer.json()["value"])
    assert f"{vault.url}/secrets/{name}" in {item["id"] for item in every_item(vault, officer)}


def test_an_update_leaves_the_value(vault, officer, name):
    """12."""
    vault.put(name, {"value": "kept"}, officer)
    answer = vault.patch(f"/secrets/{name}/", {"contentType": "text/html"}, officer)
    assert answer.status == 200
    assert "value" not in answer.json()
    read = vault.ask(f"/secrets/{name}", officer).json()
    assert (read["value"], read["contentType"]) == ("kept", "text/html")


def test_a_disabled_secret_is_forbidden_until_enabled(vault, officer, name):
    """13."""
    vault.put(name, {"value": "v", "attributes": {"enabled": False}}, officer)
    assert_error(vault.ask(f"/secrets/{name}", officer), 403, "Forbidden", "SecretDisabled")
    assert vault.patch(f"/secrets/{name}/", {"attributes": {"enabled": True}}, officer).status == 200
    assert vault.ask(f"/secrets/{name}", officer).json()["value"] == "v"


def every_item(vault, officer, size=25):
    """All secrets, by walking `nextLink` as it is; each page checked against the size asked for."""
    answer = vault.ask("/secrets", officer, query=f"api-version=7.4&maxresults={size}")
    items = []
    while True:
        page = answer.json()
        assert len(page["value"]) <= size
        items += page["value"]
        if not page.get("nextLink"):
            return items
        # Azure writes HTTPS's own port out here, as the samples of "Get Secrets" (REST) show.
        assert page["nextLink"].replace(":443/", "/").startswith(f"{vault.url}/secrets?")
        assert "api-version=7.4" in page["nextLink"]
        answer = asking.curl(page["nextLink"], *asking.bearer(officer))


def test_a_walk_over_pages_meets_each_secret_once(vault, officer, name):
    """14."""
    wanted = {f"{vault.url}/secrets/{name}-{number}" for number in range(5)}
    for each in wanted:
        vault.put(each.rsplit("/", 1)[1], {"value": "v"}, officer)
    ids = [item["id"] for item in every_item(vault, officer, size=2)]
    assert len(ids) == len(set(ids))
    assert wanted <= set(ids)


@pytest.mark.parametrize("size", ["0", "26", "-1", "many"])
def test_a_page_size_out_of_range_is_refused(vault, officer, size):
    """14. Source: "Get Secrets" (REST): `maxresults` is 1 to 25."""
    assert_error(vault.ask("/secrets", officer, query=f"api-version=7.4&maxresults={size}"), 400, "BadParameter")


def test_a_deleted_secret_can_be_recovered_or_purged(vault, officer, name):
    """15."""
    vault.put(name, {"value": "v"}, officer)
    deleted = vault.ask(f"/secrets/{name}", officer, "--request", "DELETE")
    assert deleted.status == 200
    assert deleted.json()["recoveryId"] == f"{vault.url}/deletedsecrets/{name}"
    assert deleted.json()["scheduledPurgeDate"] > deleted.json()["deletedDate"] >= int(time.time()) - 60
    assert_error(vault.ask(f"/secrets/{name}", officer), 404, "SecretNotFound")
    assert_error(vault.put(name, {"value": "w"}, officer), 409, "Conflict", "ObjectIsDeletedButRecoverable")
    recovered = vault.ask(f"/deletedsecrets/{name}/recover", officer, "--request", "POST", "--header", "Content-Length: 0")
    assert recovered.status == 200
    assert vault.ask(f"/secrets/{name}", officer).json()["value"] == "v"

    vault.ask(f"/secrets/{name}", officer, "--request", "DELETE")
    assert vault.ask(f"/deletedsecrets/{name}", officer, "--request", "DELETE").status == 204
    assert_error(vault.ask(f"/deletedsecrets/{name}", officer), 404, "SecretNotFound")
    assert vault.put(name, {"value": "w"}, officer).status == 200


@pytest.mark.parametrize("bad", ["under_score", "sp%20ace", "dot.ted", "a" * 128, "%C3%A4"])
def test_a_name_outside_the_allowed_set_is_refused(vault, officer, bad):
    """17."""
    assert_error(vault.put(bad, {"value": "v"}, officer), 400, "BadParameter")


def test_the_longest_name_and_value_are_taken_and_longer_ones_refused(vault, officer):
    """17. A value has at most 25,600 characters."""
    longest = uuid.uuid4().hex.ljust(127, "a")
    assert vault.put(longest, {"value": "v" * 25_600}, officer).status == 200
    assert_error(vault.put(longest, {"value": "v" * 25_601}, officer), 400, "BadParameter")


@pytest.mark.parametrize("document", ["{", "[]", "{}", '{"value": 7}', '{"value": null}', "nonsense"])
def test_a_body_that_is_no_secret_is_refused(vault, officer, name, document):
    """17."""
    arguments = ("--request", "PUT", "--header", "Content-Type: application/json", "--data", document)
    assert_error(vault.ask(f"/secrets/{name}", officer, *arguments), 400, "BadParameter")


def test_a_missing_secret_is_not_found(vault, officer, name):
    """Section 2.7."""
    assert_error(vault.ask(f"/secrets/{name}", officer), 404, "SecretNotFound")


def test_an_unknown_vault_is_not_served(subject, officer):
    """Section 2.3: an unknown Host is 404. Asked at the granted vault's address under another name."""
    vault = Vault(subject["vaults"]["granted"])
    host = vault.url.split("//")[1].replace("conformance-granted", "conformance-missing")
    answer = vault.ask("/secrets/any", officer, "--http1.1", "--header", f"Host: {host}")
    assert answer.status == 404
