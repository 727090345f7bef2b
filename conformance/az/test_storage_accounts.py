"""az storage account: the control plane. Source: specs/az-cli-calls.md, 3.9."""

import pytest

from azure_cli import NOT_FOUND, REFUSED


@pytest.fixture(scope="module")
def new_account_name(new_name):
    return lambda: new_name("store").replace("-", "")


@pytest.fixture
def account(az, group, new_account_name):
    return az(
        "storage", "account", "create", "-g", group, "-n", new_account_name(), "-l", "eastus", "--sku", "Standard_LRS"
    )


@pytest.mark.short
def test_an_account_is_made_shown_listed_and_deleted(az, group, account):
    name = account["name"]
    assert (account["kind"], account["sku"]["name"]) == ("StorageV2", "Standard_LRS")
    assert account["provisioningState"] == "Succeeded"
    assert account["primaryEndpoints"]["blob"].startswith(f"https://{name}.blob.")
    assert az("storage", "account", "show", "-n", name)["id"] == account["id"]
    assert az("storage", "account", "show", "-g", group, "-n", name)["id"] == account["id"]
    assert name in [each["name"] for each in az("storage", "account", "list", "-g", group)]
    assert name in [each["name"] for each in az("storage", "account", "list")]
    az("storage", "account", "delete", "-g", group, "-n", name, "-y")
    refusal = az.fails("storage", "account", "show", "-g", group, "-n", name)
    assert (refusal.status, refusal.code) == (NOT_FOUND, "ResourceNotFound")


def test_a_name_is_taken_everywhere(az, account, new_account_name):
    free = az("storage", "account", "check-name", "-n", new_account_name())
    assert free["nameAvailable"] is True
    taken = az("storage", "account", "check-name", "-n", account["name"])
    assert (taken["nameAvailable"], taken["reason"]) == (False, "AlreadyExists")
    wrong = az("storage", "account", "check-name", "-n", "Wrong_Name")
    assert (wrong["nameAvailable"], wrong["reason"]) == (False, "AccountNameInvalid")


def test_an_account_has_no_keys(az, group, account):
    """Another than Azure's: who asks for blobs has to be somebody (docs/compatibility.md)."""
    assert az("storage", "account", "keys", "list", "-g", group, "-n", account["name"]) == []


def test_who_reads_an_account_does_not_read_its_keys(reader, group, account):
    assert reader("storage", "account", "show", "-g", group, "-n", account["name"])["name"] == account["name"]
    refusal = reader.fails("storage", "account", "keys", "list", "-g", group, "-n", account["name"])
    assert (refusal.status, refusal.code) == (REFUSED, "AuthorizationFailed")
    assert "'Microsoft.Storage/storageAccounts/listKeys/action'" in refusal.message


def test_an_account_has_an_identity(az, group, account):
    where = ("-g", group, "-n", account["name"])
    changed = az("storage", "account", "update", *where, "--assign-identity", "--tags", "a=1")
    assert changed["identity"]["type"] == "SystemAssigned"
    principal = az("ad", "sp", "show", "--id", changed["identity"]["principalId"])
    assert principal["servicePrincipalType"] == "ManagedIdentity"
    assert changed["tags"] == {"a": "1"}


def test_a_wrong_name_is_refused(az, group):
    refusal = az.fails("storage", "account", "create", "-g", group, "-n", "Wrong_Name", "-l", "eastus")
    assert refusal.status == REFUSED
    assert refusal.code == "AccountNameInvalid"
