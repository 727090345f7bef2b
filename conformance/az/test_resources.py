"""az resource: any kind of resource by its type, with an api-version from the provider's list.

Source: specs/az-cli-calls.md, 3.8 and section 0, points 4 and 5.
"""

import json

import pytest

from azure_cli import NOT_FOUND, REFUSED

ARC = "Microsoft.HybridCompute/machines"
IDENTITY = "Microsoft.ManagedIdentity/userAssignedIdentities"


@pytest.fixture
def machine(az, group, new_name):
    """A server of one's own, as Arc connects it; the words that name it."""
    where = ("-g", group, "-n", new_name("server"), "--resource-type", ARC)
    whole = {"location": "eastus", "identity": {"type": "SystemAssigned"}, "properties": {"osName": "linux"}}
    az("resource", "create", *where, "--is-full-object", "--properties", json.dumps(whole))
    return where


@pytest.mark.short
def test_a_server_is_made_shown_and_deleted(subject, az, group, machine):
    shown = az("resource", "show", *machine)
    assert (shown["name"], shown["type"].lower(), shown["location"]) == (machine[3], ARC.lower(), "eastus")
    assert "//" not in shown["id"]
    assert shown["identity"]["type"] == "SystemAssigned"
    assert shown["identity"]["tenantId"] == subject["tenantId"]
    principal = az("ad", "sp", "show", "--id", shown["identity"]["principalId"])
    assert principal["servicePrincipalType"] == "ManagedIdentity"
    assert shown["id"] == az("resource", "show", "--ids", shown["id"])["id"]
    az("resource", "delete", *machine)
    refusal = az.fails("resource", "show", *machine)
    assert (refusal.status, refusal.code) == (NOT_FOUND, "ResourceNotFound")
    assert az.fails("ad", "sp", "show", "--id", principal["id"]).status == NOT_FOUND


def test_a_resource_is_updated_patched_and_tagged(az, machine):
    principal = az("resource", "show", *machine)["identity"]["principalId"]
    changed = az("resource", "update", *machine, "--set", "properties.osName=other")
    assert changed["properties"]["osName"] == "other"
    assert changed["identity"]["principalId"] == principal
    patched = az("resource", "patch", *machine, "--is-full-object", "--properties", '{"tags":{"a":"1"}}')
    assert patched["tags"] == {"a": "1"}
    tagged = az("resource", "tag", *machine, "--tags", "b=2")
    assert tagged["tags"] == {"b": "2"}
    assert az("resource", "tag", *machine, "--tags", "c=3", "--is-incremental")["tags"] == {"b": "2", "c": "3"}


def test_resources_are_listed_by_group_type_name_and_tag(az, group, machine, new_name):
    tag = new_name("tag")
    identity = az("identity", "create", "-g", group, "-n", new_name("identity"), "--tags", f"mark={tag}")
    here = az("resource", "list", "-g", group)
    assert {machine[3], identity["name"]} <= {each["name"] for each in here}
    assert {each["resourceGroup"].lower() for each in here} == {group.lower()}
    everywhere = {each["name"] for each in az("resource", "list")}
    assert {machine[3], identity["name"], "vm-both"} <= everywhere
    servers = az("resource", "list", "-g", group, "--resource-type", ARC)
    assert {each["type"].lower() for each in servers} == {ARC.lower()}
    assert [each["name"] for each in az("resource", "list", "-n", identity["name"])] == [identity["name"]]
    (tagged,) = az("resource", "list", "--tag", f"mark={tag}")
    assert (tagged["name"], tagged["tags"]) == (identity["name"], {"mark": tag})
    # keycard does not keep when a resource was made and changed: docs/compatibility.md says so.
    assert tagged["createdTime"] is None and tagged["changedTime"] is None
    assert tagged["provisioningState"] == "Succeeded"


def test_a_known_kind_is_shown_as_its_own_command_shows_it(az, group, new_name):
    name = new_name("identity")
    made = az("identity", "create", "-g", group, "-n", name)
    shown = az("resource", "show", "-g", group, "-n", name, "--resource-type", IDENTITY)
    assert shown["properties"]["principalId"] == made["principalId"]
    with_version = az("resource", "show", "--ids", made["id"], "--api-version", "2024-11-30")
    assert with_version["properties"] == shown["properties"]


def test_a_kind_that_nobody_knows_is_refused(az, group):
    refusal = az.fails(
        "resource", "show", "-g", group, "-n", "x", "--resource-type", "Microsoft.HybridCompute/nothings"
    )
    assert "not found" in refusal.words.lower() or "could not be found" in refusal.words
    refusal = az.fails("resource", "show", "-g", group, "-n", "x", "--resource-type", "Contoso.Nothing/things")
    assert refusal.status in (REFUSED, NOT_FOUND)
    assert "Contoso.Nothing" in refusal.words or "InvalidResourceNamespace" in refusal.words


def test_a_resource_moves_to_another_group_with_its_identity(az, group, machine, new_name):
    before = az("resource", "show", *machine)
    other = new_name("group")
    az("group", "create", "-n", other, "-l", "eastus")
    az("resource", "move", "--destination-group", other, "--ids", before["id"])
    after = az("resource", "show", "-g", other, "-n", machine[3], "--resource-type", ARC)
    assert after["identity"]["principalId"] == before["identity"]["principalId"]
    assert az.fails("resource", "show", *machine).status == NOT_FOUND
    az("group", "delete", "-n", other, "-y")


def test_az_rest_prints_the_refusal_as_it_came(az, group):
    refusal = az.fails("rest", "--url", f"/subscriptions/{{subscriptionId}}/resourceGroups/{group}")
    assert refusal.code == "MissingApiVersionParameter"
    assert refusal.message == "The api-version query parameter (?api-version=) is required for all requests."
