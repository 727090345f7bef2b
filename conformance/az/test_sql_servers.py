"""az sql server: the control plane, with administrators from the directory. Source: specs/az-cli-calls.md, 3.9."""

import json

import pytest

from azure_cli import NOT_FOUND

PASSWORD = "Correct-Horse-1-Battery"


@pytest.fixture(scope="module")
def administrator(az, group):
    return az("identity", "create", "-g", group, "-n", "sql-administrator")


@pytest.fixture
def server(az, group, new_name):
    return az(
        *("sql", "server", "create", "-g", group, "-n", new_name("sql"), "-l", "eastus"),
        *("--admin-user", "someone", "--admin-password", PASSWORD),
    )


def test_a_server_is_made_shown_listed_and_deleted(az, group, server):
    assert (server["administratorLogin"], server["state"]) == ("someone", "Ready")
    assert server["fullyQualifiedDomainName"].startswith(f"{server['name']}.")
    assert PASSWORD not in json.dumps(server)
    where = ("-g", group, "-n", server["name"])
    assert az("sql", "server", "show", *where)["id"] == server["id"]
    assert server["name"] in [each["name"] for each in az("sql", "server", "list", "-g", group)]
    assert server["name"] in [each["name"] for each in az("sql", "server", "list")]
    az("sql", "server", "delete", *where, "-y")
    assert az.fails("sql", "server", "show", *where).status == NOT_FOUND


def test_a_server_is_administered_by_an_identity_only(az, group, administrator, new_name):
    made = az(
        *("sql", "server", "create", "-g", group, "-n", new_name("sql"), "-l", "eastus", "--enable-ad-only-auth"),
        *("--external-admin-principal-type", "Application", "--external-admin-name", administrator["name"]),
        *("--external-admin-sid", administrator["clientId"]),
    )
    entra = made["administrators"]
    assert (entra["login"], entra["sid"]) == (administrator["name"], administrator["clientId"])
    assert entra["azureAdOnlyAuthentication"] is True


@pytest.mark.short
def test_an_administrator_of_the_directory_is_set_listed_and_taken_away(subject, az, group, server, administrator):
    at = ("-g", group, "-s", server["name"])
    made = az(
        *("sql", "server", "ad-admin", "create", *at),
        *("--display-name", administrator["name"], "--object-id", administrator["principalId"]),
    )
    assert (made["login"], made["sid"]) == (administrator["name"], administrator["principalId"])
    assert made["tenantId"] == subject["tenantId"]
    assert [each["sid"] for each in az("sql", "server", "ad-admin", "list", *at)] == [administrator["principalId"]]
    az("sql", "server", "ad-admin", "delete", *at)
    assert az("sql", "server", "ad-admin", "list", *at) == []


def test_a_server_has_an_identity(az, group, administrator, new_name):
    made = az(
        *("sql", "server", "create", "-g", group, "-n", new_name("sql"), "-l", "eastus"),
        *("--admin-user", "someone", "--admin-password", PASSWORD, "--assign-identity"),
    )
    assert made["identity"]["type"] == "SystemAssigned"
    principal = az("ad", "sp", "show", "--id", made["identity"]["principalId"])
    assert principal["servicePrincipalType"] == "ManagedIdentity"
