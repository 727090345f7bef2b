"""az aks: clusters and the identities of their control plane and nodes. Source: specs/az-cli-calls.md, 3.7."""

import json

import pytest

from azure_cli import NOT_FOUND, REFUSED

VERSION = "2026-06-01"


def make(az, group_id, name, **more):
    properties = {
        "dnsPrefix": name,
        "agentPoolProfiles": [{"name": "nodes", "count": 1, "vmSize": "Standard_B2s", "mode": "System"}],
        **more.pop("properties", {}),
    }
    body = json.dumps({"location": "eastus", "properties": properties, **more})
    url = f"{path_of(group_id, name)}?api-version={VERSION}"
    az("rest", "--method", "put", "--url", url, "--body", body)
    return settled(az, name, group_id.rsplit("/", 1)[1])


def path_of(group_id, name):
    return f"{group_id}/providers/Microsoft.ContainerService/managedClusters/{name}"


def settled(az, name, group):
    az("aks", "wait", "-g", group, "-n", name, "--created", "--interval", "1", "--timeout", "30")
    return az("aks", "show", "-g", group, "-n", name)


@pytest.mark.short
def test_a_cluster_has_an_identity_for_itself_and_one_for_its_nodes(az, group, group_id, new_name):
    """78"""
    name = new_name("aks")
    cluster = make(az, group_id, name, identity={"type": "SystemAssigned"})
    assert (cluster["name"], cluster["provisioningState"]) == (name, "Succeeded")
    assert cluster["identity"]["type"] == "SystemAssigned" and cluster["identity"]["principalId"]
    kubelet = cluster["identityProfile"]["kubeletidentity"]
    assert kubelet["objectId"] and kubelet["clientId"] and kubelet["resourceId"]
    principal = az("ad", "sp", "show", "--id", kubelet["clientId"])
    assert (principal["id"], principal["servicePrincipalType"]) == (kubelet["objectId"], "ManagedIdentity")
    assert name in [each["name"] for each in az("aks", "list", "-g", group)]
    assert name in [each["name"] for each in az("aks", "list")]


def test_a_cluster_takes_an_identity_that_was_made_for_it(az, group, group_id, new_name):
    identity = az("identity", "create", "-g", group, "-n", new_name("identity"))
    cluster = make(
        *(az, group_id, new_name("aks")),
        identity={"type": "UserAssigned", "userAssignedIdentities": {identity["id"]: {}}},
    )
    ((_, held),) = cluster["identity"]["userAssignedIdentities"].items()
    assert held["principalId"] == identity["principalId"]


def test_a_cluster_has_at_most_one_user_assigned_identity(az, group, group_id, new_name):
    """78"""
    ids = [az("identity", "create", "-g", group, "-n", new_name("identity"))["id"] for _ in range(2)]
    block = {"type": "UserAssigned", "userAssignedIdentities": {each: {} for each in ids}}
    body = json.dumps({"location": "eastus", "identity": block, "properties": {"dnsPrefix": "two"}})
    url = f"{path_of(group_id, new_name('aks'))}?api-version={VERSION}"
    refusal = az.fails("rest", "--method", "put", "--url", url, "--body", body)
    assert refusal.status == REFUSED
    assert "Bad Request" in refusal.words


def test_a_cluster_with_a_service_principal_moves_to_a_managed_identity(az, group, group_id, new_name):
    name = new_name("aks")
    application = az("ad", "sp", "create-for-rbac", "-n", new_name("app"))
    profile = {"clientId": application["appId"], "secret": application["password"]}
    cluster = make(az, group_id, name, properties={"servicePrincipalProfile": profile})
    assert cluster["servicePrincipalProfile"]["clientId"] == application["appId"]
    assert application["password"] not in json.dumps(cluster)
    changed = az("aks", "update", "-g", group, "-n", name, "--enable-managed-identity", "--yes")
    assert changed["identity"]["type"] == "SystemAssigned"
    assert changed["identity"]["principalId"]


def test_a_deleted_cluster_is_not_found(az, group, group_id, new_name):
    name = new_name("aks")
    principal = make(az, group_id, name, identity={"type": "SystemAssigned"})["identity"]["principalId"]
    az("aks", "delete", "-g", group, "-n", name, "--yes")
    refusal = az.fails("aks", "show", "-g", group, "-n", name)
    assert (refusal.status, refusal.code) == (NOT_FOUND, "ResourceNotFound")
    assert az.fails("ad", "sp", "show", "--id", principal).status == NOT_FOUND


@pytest.mark.parametrize("verb", ["show", "delete"])
def test_a_cluster_that_is_not_there_is_not_found(az, group, verb):
    more = ("--yes",) if verb == "delete" else ()
    answer = az.run("aks", verb, "-g", group, "-n", "no-such-cluster", *more)
    assert answer.status == NOT_FOUND or (verb == "delete" and answer.status == 0), str(answer)
