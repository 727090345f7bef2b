"""az monitor activity-log: who changed what. Source: specs/az-cli-calls.md, 3.9; number 82."""

import time

WRITE = "Microsoft.ManagedIdentity/userAssignedIdentities/write"
ENTRY_SECONDS_MAX = 20


def entries(az, *more):
    return az("monitor", "activity-log", "list", "--offset", "1h", "--max-events", "500", *more)


def entries_of(az, resource_id, operation, count):
    """Those of one operation, when there are that many."""
    deadline = time.monotonic() + ENTRY_SECONDS_MAX
    while True:
        found = [
            each
            for each in entries(az, "--resource-id", resource_id)
            if each["operationName"]["value"].lower() == operation.lower()
        ]
        if len(found) >= count or time.monotonic() > deadline:
            return found
        time.sleep(0.2)


def test_a_write_is_one_start_and_one_end_under_one_correlation(subject, az, group, new_name):
    """82"""
    identity = az("identity", "create", "-g", group, "-n", new_name("identity"))
    found = entries_of(az, identity["id"], WRITE, 2)
    assert {each["status"]["value"] for each in found} == {"Started", "Succeeded"}
    assert len({each["correlationId"] for each in found}) == 1
    assert {each["caller"] for each in found} == {subject["administrator"]["objectId"]}
    assert {each["resourceId"].lower() for each in found} == {identity["id"].lower()}
    assert all(each["eventTimestamp"] and each["operationName"]["value"] for each in found)


def test_a_read_leaves_no_entry(az, group, new_name):
    identity = az("identity", "create", "-g", group, "-n", new_name("identity"))
    az("identity", "show", "--ids", identity["id"])
    entries_of(az, identity["id"], WRITE, 2)
    every = entries(az, "--resource-id", identity["id"])
    assert {each["operationName"]["value"].lower() for each in every} == {WRITE.lower()}


def test_a_groups_entries_are_those_of_what_it_holds(az, group, new_name):
    identity = az("identity", "create", "-g", group, "-n", new_name("identity"))
    az("identity", "delete", "--ids", identity["id"])
    entries_of(az, identity["id"], WRITE.replace("/write", "/delete"), 2)
    found = entries(az, "-g", group)
    assert {each["resourceGroupName"].lower() for each in found} == {group.lower()}
    operations = {each["operationName"]["value"].lower() for each in found}
    assert {WRITE.lower(), WRITE.replace("/write", "/delete").lower()} <= operations
    times = [each["eventTimestamp"] for each in found]
    assert times == sorted(times, reverse=True), "newest first"


def test_a_refusal_is_an_entry_too(az, reader, group, group_id):
    reader.fails("identity", "create", "-g", group, "-n", "refused", "-l", "eastus")
    path = f"{group_id}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/refused"
    found = entries_of(az, path, WRITE, 1)
    assert "Failed" in {each["status"]["value"] for each in found}
