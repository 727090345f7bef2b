"""az provider and az feature. Source: specs/az-cli-calls.md, 3.8."""

import pytest

from azure_cli import NOT_FOUND

# Of each, a type that the suites use.
KNOWN = {
    "Microsoft.Authorization": "roleAssignments",
    "Microsoft.Compute": "virtualMachines",
    "Microsoft.HybridCompute": "machines",
    "Microsoft.Insights": "diagnosticSettings",
    "Microsoft.KeyVault": "vaults",
    "Microsoft.ManagedIdentity": "userAssignedIdentities",
    "Microsoft.Network": "networkInterfaces",
    "Microsoft.Resources": "deployments",
    "Microsoft.Sql": "servers",
    "Microsoft.Storage": "storageAccounts",
    "Microsoft.Web": "sites",
}


def test_providers_are_listed_with_their_types(az):
    listed = {each["namespace"]: each for each in az("provider", "list")}
    assert set(KNOWN) <= set(listed)
    for namespace, name in KNOWN.items():
        kinds = {each["resourceType"].lower(): each for each in listed[namespace]["resourceTypes"]}
        assert kinds[name.lower()]["apiVersions"], namespace


@pytest.mark.short
def test_the_versions_of_a_type_stand_newest_first(az):
    shown = az("provider", "show", "-n", "Microsoft.ManagedIdentity")
    assert (shown["namespace"], shown["registrationState"]) == ("Microsoft.ManagedIdentity", "Registered")
    (kind,) = (each for each in shown["resourceTypes"] if each["resourceType"] == "userAssignedIdentities")
    versions = [each for each in kind["apiVersions"] if "preview" not in each]
    assert versions == sorted(versions, reverse=True), "az takes the first"
    assert "2024-11-30" in versions
    assert kind["locations"]


def test_a_provider_is_registered_and_unregistered(az):
    az("provider", "register", "-n", "Microsoft.HybridCompute", "--wait")
    assert az("provider", "show", "-n", "Microsoft.HybridCompute")["registrationState"] == "Registered"
    az("provider", "unregister", "-n", "Microsoft.HybridCompute")
    assert az("provider", "show", "-n", "Microsoft.HybridCompute")["registrationState"] in (
        "Unregistering",
        "Unregistered",
    )
    az("provider", "register", "-n", "Microsoft.HybridCompute", "--wait")


def test_a_provider_that_nobody_knows_is_not_found(az):
    refusal = az.fails("provider", "show", "-n", "Contoso.Nothing")
    assert (refusal.status, refusal.code) == (NOT_FOUND, "InvalidResourceNamespace")
    assert refusal.message == "The resource namespace 'Contoso.Nothing' is invalid."


def test_a_feature_is_registered_and_listed(az):
    feature = ("--namespace", "Microsoft.Compute", "-n", "KeycardConformance")
    made = az("feature", "register", *feature)
    assert made["name"] == "Microsoft.Compute/KeycardConformance"
    assert made["properties"]["state"] in ("Registering", "Registered", "Pending")
    assert az("feature", "show", *feature)["name"] == made["name"]
    assert made["name"] in [each["name"] for each in az("feature", "list", "--namespace", "Microsoft.Compute")]
    assert made["name"] in [each["name"] for each in az("feature", "list")]
    assert az("feature", "unregister", *feature)["properties"]["state"] in (
        "NotRegistered",
        "Unregistering",
        "Unregistered",
    )


def test_who_may_not_register_is_refused(reader):
    refusal = reader.fails("provider", "register", "-n", "Microsoft.Compute")
    assert refusal.code == "AuthorizationFailed"
    assert "microsoft.compute/register/action" in refusal.message.lower()
