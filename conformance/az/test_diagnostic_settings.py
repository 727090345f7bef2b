"""az monitor diagnostic-settings, at a vault. Source: specs/az-cli-calls.md, 3.9; number 79."""

import json

import pytest

from azure_cli import NOT_FOUND, REFUSED

LOGS = [{"category": "AuditEvent", "enabled": True}]


@pytest.fixture(scope="module")
def target(az, group, new_name):
    return az("keyvault", "create", "-g", group, "-n", new_name("vault"), "-l", "eastus")["id"]


@pytest.fixture(scope="module")
def account(az, group, new_name):
    name = new_name("logs").replace("-", "")
    return az("storage", "account", "create", "-g", group, "-n", name, "-l", "eastus", "--sku", "Standard_LRS")["id"]


def creating(target, name, *more, logs=LOGS):
    return (
        *("monitor", "diagnostic-settings", "create", "--resource", target, "-n", name),
        *("--logs", json.dumps(logs), *more),
    )


@pytest.mark.short
def test_a_setting_is_made_shown_listed_and_deleted(az, target, account):
    made = az(*creating(target, "audit", "--storage-account", account))
    assert made["name"] == "audit"
    assert made["storageAccountId"].lower() == account.lower()
    assert [(each["category"], each["enabled"]) for each in made["logs"]] == [("AuditEvent", True)]
    where = ("--resource", target)
    assert az("monitor", "diagnostic-settings", "show", *where, "-n", "audit")["id"] == made["id"]
    listed = az("monitor", "diagnostic-settings", "list", *where)
    assert [each["name"] for each in listed] == ["audit"]
    categories = az("monitor", "diagnostic-settings", "categories", "list", *where)
    assert "AuditEvent" in [each["name"] for each in categories["value"]]
    az("monitor", "diagnostic-settings", "delete", *where, "-n", "audit")
    refusal = az.fails("monitor", "diagnostic-settings", "show", *where, "-n", "audit")
    assert refusal.status == NOT_FOUND


def test_a_setting_without_a_destination_is_refused(az, target):
    """79"""
    refusal = az.fails("rest", *putting(target, {"logs": LOGS}))
    assert refusal.status == REFUSED
    assert refusal.code == "BadRequest"


def test_an_unknown_category_is_refused(az, target, account):
    """79"""
    refusal = az.fails(
        *creating(target, "x", "--storage-account", account, logs=[{"category": "Nothing", "enabled": True}])
    )
    assert refusal.status == REFUSED
    assert "Nothing" in refusal.words


def test_a_sixth_setting_is_refused(az, group, account, new_name):
    """79"""
    target = az("keyvault", "create", "-g", group, "-n", new_name("vault"), "-l", "eastus")["id"]
    for number in range(5):
        other = f"{account[: account.rindex('/')]}/logs{number}"
        properties = {"logs": [{"category": "AuditEvent", "enabled": True}], "storageAccountId": other}
        az("rest", *putting(target, properties, f"setting{number}"))
    last = {"logs": LOGS, "storageAccountId": account}
    assert az.fails("rest", *putting(target, last, "setting5")).status == REFUSED


def putting(target, properties, name="x"):
    url = f"{target}/providers/Microsoft.Insights/diagnosticSettings/{name}?api-version=2021-05-01-preview"
    return ("--method", "put", "--url", url, "--body", json.dumps({"properties": properties}))
