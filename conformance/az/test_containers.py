"""az containerapp and az container: identities of container apps and container groups.

Source: specs/az-cli-calls.md, 3.7.
"""

import json

import pytest

from azure_cli import NOT_FOUND
from machines import held

SYSTEM, USER, BOTH = "SystemAssigned", "UserAssigned", "SystemAssigned, UserAssigned"


def put(az, path, version, body):
    return az("rest", "--method", "put", "--url", f"{path}?api-version={version}", "--body", json.dumps(body))


@pytest.fixture(scope="module")
def identity(az, group):
    return az("identity", "create", "-g", group, "-n", "identity")["id"].lower()


@pytest.fixture
def container_app(az, group, group_id, new_name):
    name = new_name("app")
    environment = f"{group_id}/providers/Microsoft.App/managedEnvironments/environment"
    properties = {
        "managedEnvironmentId": environment,
        "configuration": {},
        "template": {"containers": [{"name": "main", "image": "registry.example/main:1"}]},
    }
    path = f"{group_id}/providers/Microsoft.App/containerApps/{name}"
    put(az, path, "2025-07-01", {"location": "eastus", "properties": properties})
    return ("-g", group, "-n", name)


def shown(az, where):
    block = az("containerapp", "identity", "show", *where)
    return held(None if block.get("type") == "None" else block)


@pytest.mark.short
def test_identities_of_a_container_app_come_and_go(az, container_app, identity):
    assert shown(az, container_app)[1:] == (set(), None)
    az("containerapp", "identity", "assign", *container_app, "--system-assigned")
    kind, _, principal = shown(az, container_app)
    assert kind == SYSTEM and principal
    az("containerapp", "identity", "assign", *container_app, "--user-assigned", identity)
    assert shown(az, container_app) == (BOTH, {identity}, principal)
    az("containerapp", "identity", "remove", *container_app, "--system-assigned")
    assert shown(az, container_app) == (USER, {identity}, None)
    az("containerapp", "identity", "remove", *container_app, "--user-assigned", identity)
    assert shown(az, container_app)[1:] == (set(), None)


def test_a_container_app_is_shown_and_listed(az, group, container_app):
    app = az("containerapp", "show", *container_app)
    assert app["properties"]["provisioningState"] == "Succeeded"
    assert app["name"] in [each["name"] for each in az("containerapp", "list", "-g", group)]
    assert az.fails("containerapp", "show", "-g", group, "-n", "no-such-app").status != 0


def test_a_container_group_is_shown_with_its_identity(az, group, group_id, new_name, identity):
    name = new_name("containers")
    container = {
        "name": "main",
        "properties": {
            "image": "registry.example/main:1",
            "resources": {"requests": {"cpu": 1, "memoryInGB": 1}},
        },
    }
    body = {
        "location": "eastus",
        "identity": {"type": BOTH, "userAssignedIdentities": {identity: {}}},
        "properties": {"osType": "Linux", "containers": [container]},
    }
    path = f"{group_id}/providers/Microsoft.ContainerInstance/containerGroups/{name}"
    put(az, path, "2024-05-01-preview", body)
    group_of_containers = az("container", "show", "-g", group, "-n", name)
    kind, ids, principal = held(group_of_containers["identity"])
    assert (kind, ids) == (BOTH, {identity}) and principal
    assert name in [each["name"] for each in az("container", "list", "-g", group)]
    az("container", "delete", "-g", group, "-n", name, "-y")
    assert az.fails("container", "show", "-g", group, "-n", name).status == NOT_FOUND
