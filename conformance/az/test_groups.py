"""az group. Source: specs/az-cli-calls.md, 3.2; Microsoft Learn, "az group"."""

import pytest

from azure_cli import NOT_FOUND, REFUSED


@pytest.mark.short
def test_a_group_is_made_shown_changed_and_deleted(az, new_name, subscription):
    name = new_name("group")
    made = az("group", "create", "-n", name, "-l", "westeurope", "--tags", "env=test", "team=a b")
    assert made["id"] == f"{subscription}/resourceGroups/{name}"
    assert (made["location"], made["type"]) == ("westeurope", "Microsoft.Resources/resourceGroups")
    assert made["tags"] == {"env": "test", "team": "a b"}
    assert (made["managedBy"], made["properties"]) == (None, {"provisioningState": "Succeeded"})
    assert az("group", "show", "-n", name) == made
    assert made in az("group", "list")
    assert az("group", "exists", "-n", name) is True
    changed = az("group", "update", "-n", name, "--set", "tags.env=production")
    assert changed["tags"] == {"env": "production", "team": "a b"}
    assert az("group", "create", "-n", name, "-l", "westeurope", "--tags", "env=new")["tags"] == {"env": "new"}
    assert az("group", "delete", "-n", name, "-y") is None
    assert az("group", "exists", "-n", name) is False


def test_groups_are_found_by_their_tag(az, new_name):
    one, other = new_name("group"), new_name("group")
    az("group", "create", "-n", one, "-l", "eastus", "--tags", f"owner={one}")
    az("group", "create", "-n", other, "-l", "eastus", "--tags", f"owner={other}")
    assert [each["name"] for each in az("group", "list", "--tag", f"owner={one}")] == [one]
    for name in (one, other):
        az("group", "delete", "-n", name, "-y", "--no-wait")
        az("group", "wait", "-n", name, "--deleted", "--interval", "1", "--timeout", "20")


@pytest.mark.short
def test_a_group_that_is_not_there_is_not_found(az):
    refusal = az.fails("group", "show", "-n", "nowhere")
    assert (refusal.status, refusal.code) == (NOT_FOUND, "ResourceGroupNotFound")
    assert refusal.message == "Resource group 'nowhere' could not be found."
    assert az.fails("group", "delete", "-n", "nowhere", "-y").status == NOT_FOUND


def test_a_group_stays_where_it_is(az, group):
    refusal = az.fails("group", "create", "-n", group, "-l", "westeurope")
    assert (refusal.status, refusal.code) == (REFUSED, "InvalidResourceGroupLocation")
    assert "eastus" in refusal.message and "westeurope" in refusal.message


@pytest.mark.short
def test_without_a_right_the_refusal_names_the_action_and_the_scope(reader, group, group_id, new_name, subscription):
    assert reader("group", "show", "-n", group)["id"] == group_id
    name = new_name("group")
    refusal = reader.fails("group", "create", "-n", name, "-l", "eastus")
    assert (refusal.status, refusal.code) == (REFUSED, "AuthorizationFailed")
    assert "'microsoft.resources/subscriptions/resourcegroups/write'" in refusal.message.lower()
    assert f"over scope '{subscription}/resourcegroups/{name}'" in refusal.message
    refusal = reader.fails("group", "show", "-n", "nowhere")
    assert (refusal.status, refusal.code) == (REFUSED, "AuthorizationFailed"), "not told that it is not there"


@pytest.mark.short
def test_a_listing_shows_the_groups_that_the_caller_may_read(reader, group):
    assert [each["name"] for each in reader("group", "list")] == [group]


def test_deleting_a_group_deletes_what_it_holds(az, new_name):
    name = new_name("group")
    az("group", "create", "-n", name, "-l", "eastus")
    identity = az("identity", "create", "-g", name, "-n", "goes-along")
    az("group", "delete", "-n", name, "-y")
    assert az.fails("identity", "show", "--ids", identity["id"]).status == NOT_FOUND
    assert az("ad", "sp", "list", "--filter", f"appId eq '{identity['clientId']}'") == []
