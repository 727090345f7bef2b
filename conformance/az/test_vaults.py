"""az keyvault, on the control plane: vaults, their access policies, soft delete and purge.

Source: specs/az-cli-calls.md, 3.5; numbers: specs/azure-semantics.md, section 12.
"""

import json

import pytest

from azure_cli import NOT_FOUND, REFUSED


@pytest.fixture
def vault(az, group, new_name):
    return az("keyvault", "create", "-g", group, "-n", new_name("vault"), "-l", "eastus")


@pytest.mark.short
def test_a_vault_goes_by_roles_unless_told_otherwise(subject, az, group, new_name):
    """60"""
    name = new_name("vault")
    made = az("keyvault", "create", "-g", group, "-n", name, "--tags", "env=test")
    assert (made["name"], made["type"], made["location"]) == (name, "Microsoft.KeyVault/vaults", "eastus")
    properties = made["properties"]
    assert properties["enableRbacAuthorization"] is True
    assert (properties["enableSoftDelete"], properties["softDeleteRetentionInDays"]) == (True, 90)
    assert (properties["accessPolicies"], properties["tenantId"]) == ([], subject["tenantId"])
    assert properties["sku"] == {"family": "A", "name": "standard"}
    assert properties["vaultUri"].startswith(f"https://{name}.")
    assert made["tags"] == {"env": "test"}
    shown = az("keyvault", "show", "-n", name)
    assert {**shown, "systemData": None} == {**made, "systemData": None}
    assert az("keyvault", "show", "-g", group, "-n", name)["id"] == made["id"]


def test_vaults_are_listed(az, group, vault):
    assert vault["id"] in [each["id"] for each in az("keyvault", "list", "-g", group)]
    assert vault["id"] in [each["id"] for each in az("keyvault", "list")]
    assert vault["id"] in [each["id"] for each in az("keyvault", "list", "--resource-type", "vault")]


def test_a_vault_is_made_once(az, group, vault):
    refusal = az.fails("keyvault", "create", "-g", group, "-n", vault["name"], "-l", "eastus")
    assert refusal.status == REFUSED
    assert "already exist" in refusal.words


def test_a_vault_is_changed(az, group, vault):
    changed = az("keyvault", "update", "-g", group, "-n", vault["name"], "--enable-rbac-authorization", "false")
    assert changed["properties"]["enableRbacAuthorization"] is False
    assert changed["properties"]["vaultUri"] == vault["properties"]["vaultUri"]


def test_with_access_policies_the_maker_has_every_permission(subject, az, group, new_name):
    name = new_name("vault")
    made = az("keyvault", "create", "-g", group, "-n", name, "--enable-rbac-authorization", "false")
    (policy,) = made["properties"]["accessPolicies"]
    assert policy["objectId"] == subject["administrator"]["objectId"]
    assert [each.lower() for each in policy["permissions"]["secrets"]] == ["all"]
    other = az(
        *("keyvault", "create", "-g", group, "-n", new_name("vault")),
        *("--enable-rbac-authorization", "false", "--no-self-perms"),
    )
    assert other["properties"]["accessPolicies"] == []


def test_policies_are_set_and_taken_away(az, subject, group, new_name):
    name = new_name("vault")
    az("keyvault", "create", "-g", group, "-n", name, "--enable-rbac-authorization", "false", "--no-self-perms")
    identity = subject["identities"]["other"]
    one = az(
        "keyvault", "set-policy", "-n", name, "--object-id", identity["principalId"], "--secret-permissions", "get"
    )
    assert policies(one) == {identity["principalId"]: ["get"]}
    site = subject["site"]["principalId"]
    more = az(
        *("keyvault", "set-policy", "-g", group, "-n", name, "--object-id", site),
        *("--secret-permissions", "get", "list"),
    )
    assert policies(more) == {identity["principalId"]: ["get"], site: ["get", "list"]}
    again = az("keyvault", "set-policy", "-n", name, "--object-id", site, "--secret-permissions", "set")
    assert policies(again)[site] == ["set"]
    by_name = az("keyvault", "set-policy", "-n", name, "--spn", identity["clientId"], "--secret-permissions", "list")
    assert policies(by_name)[identity["principalId"]] == ["list"]
    less = az("keyvault", "delete-policy", "-n", name, "--object-id", site)
    assert policies(less) == {identity["principalId"]: ["list"]}
    none = az("keyvault", "delete-policy", "-n", name, "--spn", identity["clientId"])
    assert policies(none) == {}


def policies(vault):
    return {each["objectId"]: sorted(each["permissions"]["secrets"]) for each in vault["properties"]["accessPolicies"]}


def test_a_vault_that_goes_by_roles_takes_no_policy(az, subject, vault):
    """az itself refuses, before it asks."""
    refusal = az.fails(
        *("keyvault", "set-policy", "-n", vault["name"], "--object-id", subject["site"]["principalId"]),
        *("--secret-permissions", "get"),
    )
    assert "--enable-rbac-authorization" in refusal.words


@pytest.mark.short
def test_a_deleted_vault_is_listed_and_keeps_its_name_until_it_is_purged(az, group, vault):
    """69"""
    name = vault["name"]
    az("keyvault", "delete", "-g", group, "-n", name)
    refusal = az.fails("keyvault", "show", "-g", group, "-n", name)
    assert (refusal.status, refusal.code) == (NOT_FOUND, "ResourceNotFound")
    (deleted,) = (each for each in az("keyvault", "list-deleted") if each["name"] == name)
    assert deleted["type"] == "Microsoft.KeyVault/deletedVaults"
    assert deleted["properties"]["vaultId"].lower() == vault["id"].lower()
    assert deleted["properties"]["deletionDate"] < deleted["properties"]["scheduledPurgeDate"]
    assert az("keyvault", "show-deleted", "-n", name, "-l", "eastus")["id"] == deleted["id"]
    refusal = az.fails("keyvault", "create", "-g", group, "-n", name, "-l", "eastus")
    assert refusal.status == REFUSED
    assert "recover" in refusal.words.lower() or refusal.code == "ConflictError"
    az("keyvault", "purge", "-n", name)
    assert name not in [each["name"] for each in az("keyvault", "list-deleted")]
    az("keyvault", "create", "-g", group, "-n", name, "-l", "eastus")


def test_a_deleted_vault_is_recovered(az, group, vault):
    az("keyvault", "delete", "-n", vault["name"])
    recovered = az("keyvault", "recover", "-n", vault["name"])
    assert recovered["id"].lower() == vault["id"].lower()
    assert az("keyvault", "show", "-g", group, "-n", vault["name"])["id"] == vault["id"]


def test_a_vault_with_purge_protection_is_not_purged(az, group, new_name):
    """63"""
    name = new_name("vault")
    az("keyvault", "create", "-g", group, "-n", name, "--enable-purge-protection", "true", "--retention-days", "7")
    refusal = az.fails("keyvault", "update", "-g", group, "-n", name, "--enable-purge-protection", "false")
    assert refusal.status == REFUSED
    assert "enablePurgeProtection" in refusal.words
    az("keyvault", "delete", "-n", name)
    refusal = az.fails("keyvault", "purge", "-n", name, "-l", "eastus")
    assert refusal.status == REFUSED
    assert refusal.code in ("DeletedVaultPurge", "Forbidden", "Conflict", "MethodNotAllowed")


@pytest.mark.parametrize("days", [6, 91])
def test_a_retention_that_is_too_short_or_too_long_is_refused(subject, az, group_id, new_name, days):
    """64; `az rest`, since az has bounds of its own."""
    url = f"{group_id}/providers/Microsoft.KeyVault/vaults/{new_name('vault')}"
    properties = {
        "tenantId": subject["tenantId"],
        "sku": {"family": "A", "name": "standard"},
        "accessPolicies": [],
        "softDeleteRetentionInDays": days,
    }
    body = json.dumps({"location": "eastus", "properties": properties})
    refusal = az.fails("rest", "--method", "put", "--url", f"{url}?api-version=2026-02-01", "--body", body)
    assert refusal.status == REFUSED
    assert "softDeleteRetentionInDays" in refusal.words or "retention" in refusal.words.lower()


def test_a_vault_that_is_not_there_is_not_found_and_deleting_it_is_no_error(az, group):
    refusal = az.fails("keyvault", "show", "-g", group, "-n", "no-such-vault")
    assert (refusal.status, refusal.code) == (NOT_FOUND, "ResourceNotFound")
    az("keyvault", "delete", "-g", group, "-n", "no-such-vault")


def test_without_a_right_a_vault_is_not_made(reader, group, new_name):
    refusal = reader.fails("keyvault", "create", "-g", group, "-n", new_name("vault"), "-l", "eastus")
    assert (refusal.status, refusal.code) == (REFUSED, "AuthorizationFailed")
    assert "'Microsoft.KeyVault/vaults/write'" in refusal.message
