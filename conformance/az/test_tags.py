"""az tag: tags of any resource, of a group, of the subscription. Source: specs/az-cli-calls.md, 3.8; semantics 9.4."""

import pytest

from azure_cli import REFUSED


@pytest.fixture
def identity(az, group, new_name):
    return az("identity", "create", "-g", group, "-n", new_name("identity"), "--tags", "old=1")


@pytest.fixture(params=["resource", "group"])
def target(request, az, identity, new_name):
    if request.param == "resource":
        yield identity["id"]
        return
    name = new_name("group")
    yield az("group", "create", "-n", name, "-l", "eastus", "--tags", "old=1")["id"]
    az("group", "delete", "-n", name, "-y")


def tags(answer):
    return answer["properties"]["tags"]


def test_tags_are_replaced_merged_and_taken_away(az, target):
    at = ("--resource-id", target)
    made = az("tag", "create", *at, "--tags", "a=1", "b=2")
    assert tags(made) == {"a": "1", "b": "2"}
    assert (made["name"], made["type"]) == ("default", "Microsoft.Resources/tags")
    assert tags(az("tag", "list", *at)) == {"a": "1", "b": "2"}
    assert tags(az("tag", "update", *at, "--operation", "Merge", "--tags", "b=3", "c=4")) == {
        "a": "1",
        "b": "3",
        "c": "4",
    }
    assert tags(az("tag", "update", *at, "--operation", "Delete", "--tags", "a=1")) == {"b": "3", "c": "4"}
    assert tags(az("tag", "update", *at, "--operation", "Replace", "--tags", "d=5")) == {"d": "5"}
    az("tag", "delete", *at, "-y")
    assert tags(az("tag", "list", *at)) == {}


@pytest.mark.short
def test_the_tags_are_the_resources_own(az, group, identity):
    az("tag", "create", "--resource-id", identity["id"], "--tags", "Name=x")
    assert az("identity", "show", "-g", group, "-n", identity["name"])["tags"] == {"Name": "x"}
    merged = az("tag", "update", "--resource-id", identity["id"], "--operation", "Merge", "--tags", "name=y")
    assert list(tags(merged).values()) == ["y"], "names of tags compare without case"


def test_a_subscription_has_tags(az, subscription):
    assert tags(az("tag", "create", "--resource-id", subscription, "--tags", "owner=me")) == {"owner": "me"}
    assert tags(az("tag", "list", "--resource-id", subscription)) == {"owner": "me"}
    az("tag", "delete", "--resource-id", subscription, "-y")


def test_more_than_fifty_tags_are_refused(az, identity):
    """88"""
    refusal = az.fails("tag", "create", "--resource-id", identity["id"], "--tags", *(f"t{n}=v" for n in range(51)))
    assert refusal.status == REFUSED
    assert "50" in refusal.words


def test_a_reader_tags_nothing(reader, identity):
    refusal = reader.fails("tag", "create", "--resource-id", identity["id"], "--tags", "a=1")
    assert refusal.code == "AuthorizationFailed"
    assert "'microsoft.resources/tags/write'" in refusal.message.lower()
