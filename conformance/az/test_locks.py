"""az lock: what may not be deleted or changed, and for whom. Source: specs/az-cli-calls.md, 3.8; number 87."""

import pytest

from azure_cli import NOT_FOUND
from machines import machine_body, make


@pytest.fixture
def locked_group(az, new_name):
    """A group of the test's own; locks in it are taken away at the end."""
    name = new_name("group")
    az("group", "create", "-n", name, "-l", "eastus")
    yield name
    for lock in az("lock", "list", "-g", name):
        az("lock", "delete", "--ids", lock["id"])
    az("group", "delete", "-n", name, "-y")


def test_a_lock_is_made_shown_changed_and_deleted(az, locked_group, subscription):
    where = ("-n", "keep", "-g", locked_group)
    made = az("lock", "create", *where, "--lock-type", "CanNotDelete", "--notes", "a note")
    assert (made["name"], made["level"], made["notes"]) == ("keep", "CanNotDelete", "a note")
    assert made["type"] == "Microsoft.Authorization/locks"
    path = f"{subscription}/resourceGroups/{locked_group}/providers/Microsoft.Authorization/locks/keep"
    assert made["id"].lower() == path.lower()
    assert az("lock", "show", *where)["level"] == "CanNotDelete"
    assert [each["name"] for each in az("lock", "list", "-g", locked_group)] == ["keep"]
    assert made["id"] in [each["id"] for each in az("lock", "list")]
    assert az("lock", "update", *where, "--lock-type", "ReadOnly")["level"] == "ReadOnly"
    az("lock", "delete", *where)
    assert az("lock", "list", "-g", locked_group) == []
    assert az.fails("lock", "show", *where).status == NOT_FOUND


@pytest.mark.short
def test_below_a_lock_nothing_is_deleted_but_may_be_changed(az, locked_group):
    identity = az("identity", "create", "-g", locked_group, "-n", "kept")
    az("lock", "create", "-n", "keep", "-g", locked_group, "--lock-type", "CanNotDelete")
    refusal = az.fails("identity", "delete", "-g", locked_group, "-n", "kept")
    assert refusal.code == "ScopeLocked"
    assert "cannot perform delete operation because following scope(s) are locked" in refusal.message
    assert f"/resourcegroups/{locked_group}" in refusal.message.lower()
    assert az.fails("group", "delete", "-n", locked_group, "-y").code == "ScopeLocked"
    assert az("identity", "create", "-g", locked_group, "-n", "kept", "--tags", "a=1")["tags"] == {"a": "1"}
    az("lock", "delete", "-n", "keep", "-g", locked_group)
    az("identity", "delete", "--ids", identity["id"])


def test_a_lock_at_one_resource_keeps_its_group_too(az, locked_group):
    az("identity", "create", "-g", locked_group, "-n", "kept")
    az("identity", "create", "-g", locked_group, "-n", "free")
    at = (
        "-g",
        locked_group,
        "--resource",
        "kept",
        "--resource-type",
        "Microsoft.ManagedIdentity/userAssignedIdentities",
    )
    az("lock", "create", "-n", "keep", *at, "--lock-type", "CanNotDelete")
    az("identity", "delete", "-g", locked_group, "-n", "free")
    assert az.fails("identity", "delete", "-g", locked_group, "-n", "kept").code == "ScopeLocked"
    assert az.fails("group", "delete", "-n", locked_group, "-y").code == "ScopeLocked"
    assert az("identity", "show", "-g", locked_group, "-n", "kept")["name"] == "kept"


def test_below_a_read_only_lock_nothing_changes(az, locked_group, subscription):
    group_id = f"{subscription}/resourceGroups/{locked_group}"
    identity = az("identity", "create", "-g", locked_group, "-n", "kept")
    make(az, group_id, "virtualMachines", "vm", machine_body())
    az("lock", "create", "-n", "still", "-g", locked_group, "--lock-type", "ReadOnly")
    where = ("-g", locked_group, "-n", "vm")
    for command in (
        ("vm", "identity", "assign", *where),
        ("vm", "deallocate", *where),
        ("vm", "delete", *where, "-y"),
        ("identity", "create", "-g", locked_group, "-n", "another", "-l", "eastus"),
        *(
            ("role", "assignment", "create", "--role", "Reader", "--scope", group_id, *each)
            for each in [
                ("--assignee-object-id", identity["principalId"], "--assignee-principal-type", "ServicePrincipal")
            ]
        ),
    ):
        assert az.fails(*command).code == "ScopeLocked", command
    assert az("vm", "show", *where)["name"] == "vm"
    assert az("identity", "list", "-g", locked_group)[0]["name"] == "kept"


def test_a_reader_locks_nothing(reader, group):
    refusal = reader.fails("lock", "create", "-n", "keep", "-g", group, "--lock-type", "CanNotDelete")
    assert refusal.code == "AuthorizationFailed"
    assert "microsoft.authorization/locks/write" in refusal.message.lower()
