"""az monitor activity-log: who changed what. Source: specs/az-cli-calls.md, 3.9; number 82."""

import pytest

from machines import machine_body

WRITE = "Microsoft.ManagedIdentity/userAssignedIdentities/write"


def entries(az, *more):
    return az("monitor", "activity-log", "list", "--offset", "1h", "--max-events", "500", *more)


def entries_of(az, resource_id, operation):
    return [
        each
        for each in entries(az, "--resource-id", resource_id)
        if each["operationName"]["value"].lower() == operation.lower()
    ]


@pytest.mark.short
def test_a_write_is_one_start_and_one_end_under_one_correlation(subject, az, group, new_name):
    """82"""
    identity = az("identity", "create", "-g", group, "-n", new_name("identity"))
    found = entries_of(az, identity["id"], WRITE)
    assert {each["status"]["value"] for each in found} == {"Started", "Succeeded"}
    assert len({each["correlationId"] for each in found}) == 1
    assert {each["caller"] for each in found} == {subject["administrator"]["objectId"]}
    assert {each["resourceId"].lower() for each in found} == {identity["id"].lower()}
    assert all(each["eventTimestamp"] and each["operationName"]["value"] for each in found)


def test_a_read_leaves_no_entry(az, group, new_name):
    identity = az("identity", "create", "-g", group, "-n", new_name("identity"))
    az("identity", "show", "--ids", identity["id"])
    every = entries(az, "--resource-id", identity["id"])
    assert {each["operationName"]["value"].lower() for each in every} == {WRITE.lower()}


def test_a_groups_entries_are_those_of_what_it_holds(az, group, new_name):
    identity = az("identity", "create", "-g", group, "-n", new_name("identity"))
    az("identity", "delete", "--ids", identity["id"])
    found = entries(az, "-g", group)
    assert {each["resourceGroupName"].lower() for each in found} == {group.lower()}
    operations = {each["operationName"]["value"].lower() for each in found}
    assert {WRITE.lower(), WRITE.replace("/write", "/delete").lower()} <= operations
    times = [each["eventTimestamp"] for each in found]
    assert times == sorted(times, reverse=True), "newest first"


def test_what_was_begun_and_failed_says_so(az, group_id):
    """What its caller had no right to is not recorded; this is refused by the provider."""
    machine = f"{group_id}/providers/Microsoft.Compute/virtualMachines/failing"
    nobody = f"{group_id}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/nobody"
    body = machine_body(identity={"type": "UserAssigned", "userAssignedIdentities": {nobody: {}}})
    az.fails("rest", "--method", "put", "--url", f"{machine}?api-version=2024-07-01", "--body", body)
    found = entries_of(az, machine, "Microsoft.Compute/virtualMachines/write")
    assert {each["status"]["value"] for each in found} == {"Started", "Failed"}
