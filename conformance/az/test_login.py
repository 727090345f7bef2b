"""Signing in, and what az then knows of the account; every sign-in is a process of its own.

Source: specs/az-cli-calls.md, 3.1; Microsoft Learn, "Sign in to Azure with the Azure CLI".
"""

import time

import pytest

from azure_cli import REFUSED, as_application
from clients import claims
from issuer import AUDIENCE, Issuer

READER = "acdd72a7-3385-48ef-bd42-f606fba81ae7"
VAULT = "https://vault.azure.net"
NO_ACCESS = "No access was configured for the managed identity, hence no subscriptions were found."


@pytest.mark.short
def test_a_secret_signs_in(subject, new_az):
    administrator = subject["administrator"]
    (account,) = new_az().login(*as_application(subject, administrator["clientId"], administrator["clientSecret"]))
    assert account["id"] == subject["subscriptionId"]
    assert account["tenantId"] == account["homeTenantId"] == subject["tenantId"]
    assert (account["state"], account["isDefault"]) == ("Enabled", True)
    assert account["user"] == {"name": administrator["clientId"], "type": "servicePrincipal"}


@pytest.mark.parametrize("more", [[], ["--use-cert-sn-issuer"]], ids=["thumbprint", "chain"])
def test_a_certificate_signs_in(subject, new_az, more):
    administrator = subject["administrator"]
    az = new_az()
    (account,) = az.login(
        "--service-principal",
        "-u",
        administrator["clientId"],
        "--certificate",
        administrator["certificateFile"],
        "--tenant",
        subject["tenantId"],
        *more,
    )
    assert account["id"] == subject["subscriptionId"]
    assert az("group", "show", "-n", "conformance")["name"] == "conformance"


def test_a_federated_token_signs_in(subject, az, new_az, group):
    issuer = Issuer()
    try:
        identity = az("identity", "create", "-g", group, "-n", "federated")
        az(
            *("identity", "federated-credential", "create", "-g", group, "--identity-name", "federated"),
            *("-n", "pipeline", "--issuer", issuer.url, "--subject", "repo:orders", "--audiences", AUDIENCE),
        )
        az(*as_reader_of_the_group(az, group, identity["principalId"]))
        pipeline = new_az()
        (account,) = pipeline.login(
            *("--service-principal", "-u", identity["clientId"], "--tenant", subject["tenantId"]),
            *("--federated-token", issuer.token("repo:orders")),
        )
        assert account["id"] == subject["subscriptionId"]
        assert pipeline("group", "show", "-n", group)["name"] == group
        answer = new_az().process(
            *("login", "--service-principal", "-u", identity["clientId"], "--tenant", subject["tenantId"]),
            *("--federated-token", issuer.token("repo:others")),
        )
        assert answer.status == REFUSED
        assert "AADSTS70021" in answer.words
    finally:
        issuer.close()


@pytest.mark.parametrize(
    "client_id, secret, number",
    [
        (None, "wrong", "AADSTS7000215"),
        ("00000000-0000-0000-0000-00000000dead", "any", "AADSTS700016"),
    ],
    ids=["wrong-secret", "unknown-client"],
)
@pytest.mark.short
def test_a_refused_sign_in_says_its_number(subject, new_az, client_id, secret, number):
    client_id = client_id or subject["administrator"]["clientId"]
    answer = new_az().process("login", *as_application(subject, client_id, secret))
    assert answer.status == REFUSED
    assert number in answer.words


def test_an_application_without_a_role_finds_no_subscription(subject, az, new_az, new_name):
    made = az("ad", "sp", "create-for-rbac", "-n", new_name("app"))
    signing_in = as_application(subject, made["appId"], made["password"])
    answer = new_az().process("login", *signing_in)
    assert answer.status == REFUSED
    assert f"No subscriptions found for {made['appId']}" in answer.words
    patient = new_az()
    (account,) = patient.login(*signing_in, "--allow-no-subscriptions")
    assert (account["id"], account["name"]) == (subject["tenantId"], "N/A(tenant level account)")
    token = patient("account", "get-access-token")["accessToken"]
    assert claims(token)["appid"] == made["appId"]


@pytest.mark.short
def test_a_machines_own_identity_signs_in(subject, new_az):
    az = on_the_machine(subject, new_az)
    (account,) = az.login("--identity")
    assert account["id"] == subject["subscriptionId"]
    assert account["user"] == {
        "assignedIdentityInfo": "MSI",
        "name": "systemAssignedIdentity",
        "type": "servicePrincipal",
    }
    assert claims(az("account", "get-access-token")["accessToken"])["oid"] == subject["vm"]["principalId"]


@pytest.mark.short
def test_a_user_assigned_identity_signs_in_once_it_has_a_role(subject, az, new_az, group):
    """One identity, named in each way; before it has a role, there is nothing that it could see."""
    identity = subject["identities"]["attached"]
    names = {
        "--client-id": (identity["clientId"], "MSIClient"),
        "--object-id": (identity["principalId"], "MSIObject"),
        "--resource-id": (identity["id"], "MSIResource"),
    }
    for option, (value, _) in names.items():
        answer = on_the_machine(subject, new_az).process("login", "--identity", option, value)
        assert answer.status == REFUSED
        assert NO_ACCESS in answer.words
    az(*as_reader_of_the_group(az, group, identity["principalId"]))
    for option, (value, kind) in names.items():
        workload = on_the_machine(subject, new_az)
        (account,) = workload.login("--identity", option, value)
        assert account["user"] == {
            "assignedIdentityInfo": f"{kind}-{value}",
            "name": "userAssignedIdentity",
            "type": "servicePrincipal",
        }
        assert workload("group", "show", "-n", group)["name"] == group
        assert claims(workload("account", "get-access-token")["accessToken"])["oid"] == identity["principalId"]


def test_an_identity_of_another_machine_does_not_sign_in_here(subject, new_az):
    other = subject["identities"]["other"]["clientId"]
    answer = on_the_machine(subject, new_az).process("login", "--identity", "--client-id", other)
    assert answer.status == REFUSED
    assert "Identity not found" in answer.words


def test_a_sites_own_identity_signs_in_without_a_subscription(subject, new_az):
    az = new_az(**subject["site"]["variables"])
    assert NO_ACCESS in az.process("login", "--identity").words
    (account,) = az.login("--identity", "--allow-no-subscriptions")
    assert account["id"] == subject["tenantId"]
    token = az("account", "get-access-token", "--resource", VAULT)["accessToken"]
    assert (claims(token)["oid"], claims(token)["aud"]) == (subject["site"]["principalId"], VAULT)


@pytest.mark.parametrize("asking", [("--resource", VAULT), ("--scope", f"{VAULT}/.default")], ids=["resource", "scope"])
@pytest.mark.short
def test_a_token_is_had_for_another_audience(subject, az, asking):
    answer = az("account", "get-access-token", *asking)
    assert (answer["tokenType"], answer["tenant"]) == ("Bearer", subject["tenantId"])
    assert answer["subscription"] == subject["subscriptionId"]
    assert answer["expires_on"] > time.time()
    token = claims(answer["accessToken"])
    assert (token["aud"], token["appid"]) == (VAULT, subject["administrator"]["clientId"])


def test_a_token_for_an_unknown_resource_is_refused(az):
    refusal = az.fails("account", "get-access-token", "--resource", "https://nobody.example")
    assert refusal.status == REFUSED
    assert "AADSTS500011" in refusal.words


@pytest.mark.short
def test_accounts_are_shown_listed_and_chosen(subject, az):
    shown = az("account", "show")
    assert (shown["id"], shown["state"]) == (subject["subscriptionId"], "Enabled")
    assert [each["id"] for each in az("account", "list")] == [subject["subscriptionId"]]
    az("account", "set", "-s", subject["subscriptionId"])
    assert az("account", "list", "--refresh")[0]["isDefault"] is True


@pytest.mark.short
def test_locations_are_listed(az):
    locations = az("account", "list-locations")
    assert {"eastus", "westeurope"} <= {each["name"] for each in locations}
    assert all(each["displayName"] and each["regionalDisplayName"] for each in locations)


def test_a_tenant_and_its_subscriptions_are_listed(subject, az):
    """`az account tenant` and `az account subscription` are extensions; `az rest` asks what they ask."""
    (tenant,) = az("rest", "--url", "/tenants?api-version=2022-12-01")["value"]
    assert tenant["tenantId"] == subject["tenantId"]
    (subscription,) = az("rest", "--url", "/subscriptions?api-version=2022-12-01")["value"]
    assert (subscription["subscriptionId"], subscription["state"]) == (subject["subscriptionId"], "Enabled")


def test_a_signed_out_account_is_forgotten(subject, new_az):
    az = new_az()
    administrator = subject["administrator"]
    az.login(*as_application(subject, administrator["clientId"], administrator["clientSecret"]))
    answer = az.process("logout")
    assert answer.status == 0, str(answer)
    assert "az login" in az.fails("group", "list").words


def on_the_machine(subject, new_az):
    return new_az(**subject["vm"]["variables"])


def as_reader_of_the_group(az, group, principal_id):
    """The words of a role assignment."""
    scope = az("group", "show", "-n", group)["id"]
    return (
        *("role", "assignment", "create", "--role", READER, "--scope", scope),
        *("--assignee-object-id", principal_id, "--assignee-principal-type", "ServicePrincipal"),
    )
