"""az keyvault secret: the challenge, a secret's life, and who may read it.

Source: specs/az-cli-calls.md, 3.5; numbers: specs/azure-semantics.md, section 12.
"""

import re

import pytest

from azure_cli import NOT_FOUND, REFUSED

OFFICER, USER, VAULT_READER = "Key Vault Secrets Officer", "Key Vault Secrets User", "Key Vault Reader"


def grant(az, role, principal_id, scope):
    return az(
        *("role", "assignment", "create", "--role", role, "--scope", scope),
        *("--assignee-object-id", principal_id, "--assignee-principal-type", "ServicePrincipal"),
    )


@pytest.fixture(scope="module")
def vault(subject, az, group, new_vault_name):
    """A vault in which the administrator may do everything with secrets."""
    made = az("keyvault", "create", "-g", group, "-n", new_vault_name(), "-l", "eastus")
    grant(az, OFFICER, subject["administrator"]["objectId"], made["id"])
    return made


@pytest.fixture
def inside(vault):
    return ("--vault-name", vault["name"])


@pytest.fixture
def someone(az, az_of, group_id, new_name):
    """An application with no right in any vault; its az and its object id."""
    made = az("ad", "sp", "create-for-rbac", "-n", new_name("app"), "--role", "Reader", "--scopes", group_id)
    return az_of(made["appId"], made["password"]), az("ad", "sp", "show", "--id", made["appId"])["id"]


@pytest.mark.short
def test_a_secret_is_set_shown_listed_and_has_versions(az, inside, new_name):
    """61"""
    name = new_name("secret")
    first = az("keyvault", "secret", "set", *inside, "-n", name, "--value", "one")
    assert (first["name"], first["value"], first["tags"]) == (name, "one", {"file-encoding": "utf-8"})
    assert re.fullmatch(rf"https://[^/]+/secrets/{name}/[0-9a-f]{{32}}", first["id"])
    attributes = first["attributes"]
    assert attributes["enabled"] is True and attributes["created"] and attributes["updated"]
    assert (attributes["recoveryLevel"], attributes["recoverableDays"]) == ("Recoverable+Purgeable", 90)
    second = az("keyvault", "secret", "set", *inside, "-n", name, "--value", "two", "--tags", "env=test")
    assert az("keyvault", "secret", "show", *inside, "-n", name)["value"] == "two"
    assert az("keyvault", "secret", "show", "--id", first["id"])["value"] == "one"
    assert az("keyvault", "secret", "show", "--id", second["id"])["value"] == "two"
    listed = az("keyvault", "secret", "list", *inside)
    assert name in [each["name"] for each in listed]
    assert not any("value" in each and each["value"] for each in listed)
    versions = az("keyvault", "secret", "list-versions", *inside, "-n", name)
    assert {each["id"] for each in versions} == {first["id"], second["id"]}


def test_a_secret_comes_from_a_file_and_goes_to_one(az, inside, new_name):
    name = new_name("secret")
    text = "first line\nsecond line with ümlauts\n"
    az("keyvault", "secret", "set", *inside, "-n", name, "--file", az.write("secret.txt", text))
    az("keyvault", "secret", "download", *inside, "-n", name, "--file", f"{name}.txt")
    assert (az.folder / f"{name}.txt").read_text() == text


def test_attributes_are_changed_and_the_value_stays(az, inside, new_name):
    """65"""
    name = new_name("secret")
    az("keyvault", "secret", "set", *inside, "-n", name, "--value", "kept", "--expires", "2020-01-01T00:00:00Z")
    shown = az("keyvault", "secret", "show", *inside, "-n", name)
    assert shown["attributes"]["expires"] == "2020-01-01T00:00:00+00:00"
    assert shown["value"] == "kept", "an expired secret is still read"
    az("keyvault", "secret", "set-attributes", *inside, "-n", name, "--enabled", "false")
    refusal = az.fails("keyvault", "secret", "show", *inside, "-n", name)
    assert (refusal.status, refusal.code) == (REFUSED, "Forbidden")
    assert "disabled" in refusal.message
    az("keyvault", "secret", "set-attributes", *inside, "-n", name, "--enabled", "true", "--content-type", "text/plain")
    shown = az("keyvault", "secret", "show", *inside, "-n", name)
    assert (shown["value"], shown["contentType"]) == ("kept", "text/plain")


def test_a_deleted_secret_is_recovered_with_its_versions_or_purged(az, inside, new_name):
    """62"""
    name = new_name("secret")
    for value in ("one", "two"):
        az("keyvault", "secret", "set", *inside, "-n", name, "--value", value)
    deleted = az("keyvault", "secret", "delete", *inside, "-n", name)
    assert deleted["recoveryId"] and deleted["scheduledPurgeDate"]
    refusal = az.fails("keyvault", "secret", "show", *inside, "-n", name)
    assert (refusal.status, refusal.code) == (NOT_FOUND, "SecretNotFound")
    assert name in [each["name"] for each in az("keyvault", "secret", "list-deleted", *inside)]
    assert az("keyvault", "secret", "show-deleted", *inside, "-n", name)["recoveryId"] == deleted["recoveryId"]
    refusal = az.fails("keyvault", "secret", "set", *inside, "-n", name, "--value", "three")
    assert (refusal.status, refusal.code) == (REFUSED, "Conflict")
    assert "ObjectIsDeletedButRecoverable" in refusal.words
    az("keyvault", "secret", "recover", *inside, "-n", name)
    assert len(az("keyvault", "secret", "list-versions", *inside, "-n", name)) == 2
    az("keyvault", "secret", "delete", *inside, "-n", name)
    az("keyvault", "secret", "purge", *inside, "-n", name)
    assert name not in [each["name"] for each in az("keyvault", "secret", "list-deleted", *inside)]
    az("keyvault", "secret", "set", *inside, "-n", name, "--value", "anew")


def test_a_secret_that_is_not_there_is_not_found(az, inside):
    refusal = az.fails("keyvault", "secret", "show", *inside, "-n", "nothing")
    assert (refusal.status, refusal.code) == (NOT_FOUND, "SecretNotFound")
    assert "A secret with (name/id) nothing was not found in this key vault" in refusal.message


@pytest.mark.short
def test_without_a_role_the_refusal_says_what_was_missing(az, inside, someone, vault, new_name):
    """57: by roles."""
    other, principal_id = someone
    name = new_name("secret")
    az("keyvault", "secret", "set", *inside, "-n", name, "--value", "closed")
    refusal = other.fails("keyvault", "secret", "show", *inside, "-n", name)
    assert (refusal.status, refusal.code) == (REFUSED, "Forbidden")
    assert "Inner error" in refusal.words and "ForbiddenByRbac" in refusal.words
    assert "Microsoft.KeyVault/vaults/secrets/getSecret/action" in refusal.words
    assert principal_id in refusal.words


def test_roles_open_what_they_say(az, inside, someone, vault, new_name):
    """58"""
    other, principal_id = someone
    name = new_name("secret")
    az("keyvault", "secret", "set", *inside, "-n", name, "--value", "open")
    grant(az, VAULT_READER, principal_id, vault["id"])
    assert name in [each["name"] for each in other("keyvault", "secret", "list", *inside)]
    assert other.fails("keyvault", "secret", "show", *inside, "-n", name).code == "Forbidden"
    grant(az, USER, principal_id, vault["id"])
    assert other("keyvault", "secret", "show", *inside, "-n", name)["value"] == "open"
    assert other.fails("keyvault", "secret", "set", *inside, "-n", name, "--value", "x").code == "Forbidden"


def test_a_role_at_one_secret_opens_only_that_one(az, inside, someone, vault, new_name):
    """42"""
    other, principal_id = someone
    opened, closed = new_name("secret"), new_name("secret")
    for name in (opened, closed):
        az("keyvault", "secret", "set", *inside, "-n", name, "--value", name)
    grant(az, USER, principal_id, f"{vault['id']}/secrets/{opened}")
    assert other("keyvault", "secret", "show", *inside, "-n", opened)["value"] == opened
    assert other.fails("keyvault", "secret", "show", *inside, "-n", closed).code == "Forbidden"
    assert other.fails("keyvault", "secret", "list", *inside).code == "Forbidden"


def test_access_policies_count_only_while_roles_do_not(az, someone, group, new_vault_name):
    """57: by policy; 59"""
    other, principal_id = someone
    name = new_vault_name()
    inside = ("--vault-name", name)
    az("keyvault", "create", "-g", group, "-n", name, "--enable-rbac-authorization", "false")
    az("keyvault", "secret", "set", *inside, "-n", "s", "--value", "by policy")
    refusal = other.fails("keyvault", "secret", "show", *inside, "-n", "s")
    assert (refusal.status, refusal.code) == (REFUSED, "Forbidden")
    assert "does not have secrets get permission on key vault" in refusal.message
    assert "Inner error" in refusal.words
    az("keyvault", "set-policy", "-n", name, "--object-id", principal_id, "--secret-permissions", "get")
    assert other("keyvault", "secret", "show", *inside, "-n", "s")["value"] == "by policy"
    az("keyvault", "update", "-n", name, "--enable-rbac-authorization", "true")
    assert "ForbiddenByRbac" in other.fails("keyvault", "secret", "show", *inside, "-n", "s").words
    az("keyvault", "update", "-n", name, "--enable-rbac-authorization", "false")
    assert other("keyvault", "secret", "show", *inside, "-n", "s")["value"] == "by policy"


@pytest.mark.short
def test_a_workload_reads_the_secret_that_it_was_given(subject, new_az):
    """As a machine's own identity, which has a role at the vault."""
    az = new_az(**subject["vm"]["variables"])
    az.login("--identity")
    secret, vault = subject["secret"], subject["vaults"]["granted"]["name"]
    shown = az("keyvault", "secret", "show", "--vault-name", vault, "-n", secret["name"])
    assert shown["value"] == secret["value"]
    closed = subject["vaults"]["denied"]["name"]
    assert az.fails("keyvault", "secret", "list", "--vault-name", closed).code == "Forbidden"


def test_az_rest_asks_a_vault_too(subject, az):
    secret, vault = subject["secret"], subject["vaults"]["granted"]["url"]
    answer = az(
        *("rest", "--resource", "https://vault.azure.net"),
        *("--url", f"{vault}/secrets/{secret['name']}?api-version=7.4"),
    )
    assert answer["value"] == secret["value"]
