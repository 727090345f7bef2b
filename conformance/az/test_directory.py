"""az ad: service principals, applications and their secrets. Source: specs/az-cli-calls.md, 3.6."""

import pytest

from azure_cli import NOT_FOUND, REFUSED, as_application


@pytest.fixture
def identity(az, group, new_name):
    return az("identity", "create", "-g", group, "-n", new_name("identity"))


@pytest.mark.short
def test_a_managed_identity_is_found_in_every_way(az, identity):
    by_app = az("ad", "sp", "show", "--id", identity["clientId"])
    assert by_app["id"] == identity["principalId"]
    assert by_app == az("ad", "sp", "show", "--id", identity["principalId"])
    assert by_app["servicePrincipalType"] == "ManagedIdentity"
    assert by_app["servicePrincipalNames"]
    assert by_app["displayName"] == identity["name"]
    assert identity["clientId"] in [each["appId"] for each in az("ad", "sp", "list", "--all")]
    kind = ("--filter", "servicePrincipalType eq 'ManagedIdentity'")
    assert identity["clientId"] in [each["appId"] for each in az("ad", "sp", "list", *kind)]
    (by_name,) = az("ad", "sp", "list", "--display-name", identity["name"])
    assert by_name["appId"] == identity["clientId"]


def test_the_administrator_finds_itself(subject, az):
    administrator = subject["administrator"]
    assert az("ad", "sp", "show", "--id", administrator["clientId"])["id"] == administrator["objectId"]
    refusal = az.fails("ad", "signed-in-user", "show")
    assert refusal.status == REFUSED
    assert "/me request is only valid with delegated authentication flow." in refusal.words


def test_a_principal_that_is_not_there_is_not_found(az):
    refusal = az.fails("ad", "sp", "show", "--id", "00000000-0000-0000-0000-00000000dead")
    assert refusal.status == NOT_FOUND
    assert "does not exist" in refusal.words


@pytest.mark.short
def test_a_service_principal_for_rbac_works_at_once(subject, az, new_az, group, group_id, new_name):
    name = new_name("app")
    made = az("ad", "sp", "create-for-rbac", "-n", name, "--role", "Reader", "--scopes", group_id)
    assert (made["displayName"], made["tenant"]) == (name, subject["tenantId"])
    other = new_az()
    (account,) = other.login(*as_application(subject, made["appId"], made["password"]))
    assert account["id"] == subject["subscriptionId"]
    assert other("group", "show", "-n", group)["name"] == group


def test_a_certificate_for_rbac_works_at_once(subject, az, new_az, group_id, new_name):
    made = az(
        *("ad", "sp", "create-for-rbac", "-n", new_name("app"), "--create-cert"),
        *("--role", "Reader", "--scopes", group_id),
    )
    (account,) = new_az().login(
        *("--service-principal", "-u", made["appId"], "--tenant", made["tenant"]),
        *("--certificate", made["fileWithCertAndPrivateKey"]),
    )
    assert account["id"] == subject["subscriptionId"]


def test_a_secret_is_reset_and_the_old_one_no_longer_counts(subject, az, new_az, new_name):
    made = az("ad", "sp", "create-for-rbac", "-n", new_name("app"))
    renewed = az("ad", "sp", "credential", "reset", "--id", made["appId"])
    assert renewed["password"] != made["password"]
    old = new_az().process("login", *as_application(subject, made["appId"], made["password"]))
    assert "AADSTS7000215" in old.words
    new_az().login(*as_application(subject, made["appId"], renewed["password"]), "--allow-no-subscriptions")
    (listed,) = az("ad", "sp", "credential", "list", "--id", made["appId"])
    assert listed["keyId"] and not listed.get("secretText")


def test_an_application_is_made_changed_and_deleted(az, new_name):
    name = new_name("app")
    made = az("ad", "app", "create", "--display-name", name, "--identifier-uris", f"api://{name}")
    assert (made["displayName"], made["identifierUris"]) == (name, [f"api://{name}"])
    assert az("ad", "app", "show", "--id", made["appId"])["id"] == made["id"]
    az("ad", "app", "update", "--id", made["appId"], "--display-name", f"{name}-new")
    assert az("ad", "app", "show", "--id", made["id"])["displayName"] == f"{name}-new"
    assert [each["appId"] for each in az("ad", "app", "list", "--display-name", f"{name}-new")] == [made["appId"]]
    principal = az("ad", "sp", "create", "--id", made["appId"])
    assert principal["appId"] == made["appId"]
    az("ad", "app", "delete", "--id", made["appId"])
    assert az.fails("ad", "app", "show", "--id", made["appId"]).status == NOT_FOUND
    assert az.fails("ad", "sp", "show", "--id", made["appId"]).status == NOT_FOUND


def test_an_application_takes_a_federated_credential(az, new_name):
    made = az("ad", "app", "create", "--display-name", new_name("app"))
    credential = {
        "name": "pipeline",
        "issuer": "https://token.actions.githubusercontent.com",
        "subject": "repo:a/b:ref:refs/heads/main",
        "audiences": ["api://AzureADTokenExchange"],
    }
    command = ("ad", "app", "federated-credential")
    kept = az(*command, "create", "--id", made["appId"], "--parameters", f"@{az.write('credential.json', credential)}")
    assert {name: kept[name] for name in credential} == credential
    assert [each["name"] for each in az(*command, "list", "--id", made["appId"])] == ["pipeline"]
    az(*command, "delete", "--id", made["appId"], "--federated-credential-id", kept["id"])
    assert az(*command, "list", "--id", made["appId"]) == []


def test_groups_have_members(az, identity, new_name):
    name = new_name("people")
    made = az("ad", "group", "create", "--display-name", name, "--mail-nickname", name)
    member = ("--group", made["id"], "--member-id", identity["principalId"])
    az("ad", "group", "member", "add", *member)
    assert az("ad", "group", "member", "check", *member) == {"value": True}
    (listed,) = az("ad", "group", "member", "list", "--group", made["id"])
    assert listed["id"] == identity["principalId"]
    az("ad", "group", "member", "remove", *member)
    assert az("ad", "group", "member", "check", *member) == {"value": False}
    assert [each["id"] for each in az("ad", "group", "list", "--display-name", name)] == [made["id"]]
    az("ad", "group", "delete", "--group", made["id"])


def test_the_directory_is_closed_to_those_who_do_not_administer_it(reader, new_name):
    refusal = reader.fails("ad", "app", "create", "--display-name", new_name("app"))
    assert refusal.status == REFUSED
    assert "Insufficient privileges to complete the operation." in refusal.words


def test_az_rest_asks_the_directory_too(subject, az):
    answer = az(
        "rest",
        "--url",
        "https://graph.microsoft.com/v1.0/organization"
        if subject["unmodified"]
        else f"{subject['graph']}/v1.0/organization",
    )
    assert answer["value"][0]["id"] == subject["tenantId"]
