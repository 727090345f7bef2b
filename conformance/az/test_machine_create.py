"""az vm create in full: it looks for an image and a network, and deploys a template of its own.

Source: specs/az-cli-calls.md, 3.4, "az vm create also works".
"""

import pytest

from azure_cli import NOT_FOUND
from machines import held

IMAGE = "Canonical:ubuntu-24_04-lts:server:latest"
PASSWORD = "Correct-Horse-1-Battery"


def create(az, group, name, *more):
    return az(
        *("vm", "create", "-g", group, "-n", name, "--size", "Standard_B1s", "--image", IMAGE),
        *("--admin-username", "someone", "--admin-password", PASSWORD, "--authentication-type", "password"),
        *more,
    )


@pytest.mark.short
def test_a_machine_is_made_with_its_network_and_an_identity_with_a_role(az, group, group_id, new_name):
    name = new_name("vm")
    made = create(az, group, name, "--assign-identity", "--role", "Reader", "--scope", group_id)
    assert made["powerState"] == "VM running"
    assert made["resourceGroup"].lower() == group.lower()
    identity = made["identity"]
    assert identity["systemAssignedIdentity"] and identity["role"] == "Reader"
    shown = az("vm", "show", "-g", group, "-n", name)
    assert shown["identity"]["principalId"] == identity["systemAssignedIdentity"]
    assert shown["storageProfile"]["imageReference"]["offer"] == "ubuntu-24_04-lts"
    assert PASSWORD not in str(shown)
    (given,) = az("role", "assignment", "list", "-g", group, "--assignee", identity["systemAssignedIdentity"])
    assert given["roleDefinitionName"] == "Reader"
    kinds = {each["type"].lower() for each in az("resource", "list", "-g", group)}
    assert {
        "microsoft.network/networkinterfaces",
        "microsoft.network/networksecuritygroups",
        "microsoft.network/publicipaddresses",
        "microsoft.network/virtualnetworks",
    } <= kinds
    details = az("vm", "show", "-d", "-g", group, "-n", name)
    assert details["powerState"] == "VM running"
    az("vm", "delete", "-g", group, "-n", name, "-y")
    assert az.fails("vm", "show", "-g", group, "-n", name).status == NOT_FOUND


def test_a_machine_is_made_with_identities_that_are_there(az, group, new_name):
    x = az("identity", "create", "-g", group, "-n", new_name("identity"))["id"]
    name = new_name("vm")
    create(az, group, name, "--assign-identity", "[system]", x, "--public-ip-address", "")
    kind, ids, principal = held(az("vm", "identity", "show", "-g", group, "-n", name))
    assert (kind, ids) == ("SystemAssigned, UserAssigned", {x.lower()}) and principal


def test_the_second_machine_uses_the_network_of_the_first(az, new_name):
    group = new_name("group")
    az("group", "create", "-n", group, "-l", "eastus")
    for name in ("one", "two"):
        create(az, group, name)
    networks = az("resource", "list", "-g", group, "--resource-type", "Microsoft.Network/virtualNetworks")
    assert len(networks) == 1
    az("group", "delete", "-n", group, "-y")
