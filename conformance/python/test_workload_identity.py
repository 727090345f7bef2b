"""Workload identity in a cluster of the subject: its own issuer, the file that it keeps, and what the webhook would set.

Source: Microsoft Learn, "Use Microsoft Entra Workload ID with Azure Kubernetes Service". Number: token-endpoints 53.
"""

import asyncio

import azure.identity
import azure.identity.aio
import pytest

import clients

VAULT = "https://vault.azure.net"
CLUSTERS = "providers/Microsoft.ContainerService/managedClusters"
IDENTITIES = "providers/Microsoft.ManagedIdentity/userAssignedIdentities"


@pytest.fixture
def identity(arm, group, keycard, monkeypatch):
    """This process is a pod of the service account orders:api, which an identity trusts."""
    cluster = arm.must("PUT", f"{group}/{CLUSTERS}/aks1", {
        "location": "eastus",
        "identity": {"type": "SystemAssigned"},
        "properties": {
            "dnsPrefix": "aks1",
            "agentPoolProfiles": [{"name": "np1", "count": 1, "vmSize": "Standard_B2s", "mode": "System"}],
            "oidcIssuerProfile": {"enabled": True},
        },
    })
    made = arm.must("PUT", f"{group}/{IDENTITIES}/api", {"location": "eastus"})
    arm.must("PUT", f"{made['id']}/federatedIdentityCredentials/aks1", {"properties": {
        "issuer": cluster["properties"]["oidcIssuerProfile"]["issuerURL"],
        "subject": "system:serviceaccount:orders:api",
        "audiences": ["api://AzureADTokenExchange"],
    }})
    account = ("--kind", "workload-identity", "--service-account", "orders:api")
    for name, value in keycard.json("env", "--as", cluster["id"], *account).items():
        monkeypatch.setenv(name, value)
    yield made["properties"]
    arm.must("DELETE", cluster["id"])


def sync():
    with azure.identity.WorkloadIdentityCredential(disable_instance_discovery=True) as credential:
        return credential.get_token(f"{VAULT}/.default").token


def aio():
    async def acquire():
        async with azure.identity.aio.WorkloadIdentityCredential(disable_instance_discovery=True) as credential:
            return (await credential.get_token(f"{VAULT}/.default")).token

    return asyncio.run(acquire())


@pytest.mark.parametrize("acquire", [sync, aio])
def test_a_program_of_the_cluster_is_the_identity(identity, acquire):
    claims = clients.claims(acquire())
    assert claims["oid"] == identity["principalId"]
    assert claims["aud"] == VAULT
