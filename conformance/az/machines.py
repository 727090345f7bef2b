"""Virtual machines and scale sets made with little ceremony, as `az rest` does it, and their identity blocks."""

import json

NO_IDENTITY = None


def machine_body(*, identity=NO_IDENTITY, **more):
    body = {"location": "eastus", "properties": {"hardwareProfile": {"vmSize": "Standard_B1s"}}, **more}
    return json.dumps({**body, "identity": identity} if identity else body)


def scale_set_body(capacity, *, identity=NO_IDENTITY):
    body = {
        "location": "eastus",
        "sku": {"name": "Standard_B1s", "tier": "Standard", "capacity": capacity},
        "properties": {"orchestrationMode": "Uniform", "upgradePolicy": {"mode": "Manual"}},
    }
    return json.dumps({**body, "identity": identity} if identity else body)


def make(az, group_id, kind, name, body):
    url = f"{group_id}/providers/Microsoft.Compute/{kind}/{name}?api-version=2024-07-01"
    return az("rest", "--method", "put", "--url", url, "--body", body)


def held(block):
    """Type, ids of the user-assigned ones in small letters, and the principal, as `identity show` prints them."""
    if not block:
        return None, set(), None
    return block["type"], {each.lower() for each in block.get("userAssignedIdentities") or {}}, block.get("principalId")


class Attached:
    """One machine or scale set under `az vm identity` or `az vmss identity`."""

    def __init__(self, az, command, group, name):
        self.az = az
        self.command = command
        self.where = ("-g", group, "-n", name)

    def assign(self, *identities, more=()):
        return self.az(self.command, "identity", "assign", *self.where, *named(identities), *more)

    def remove(self, *identities):
        return self.az(self.command, "identity", "remove", *self.where, *named(identities))

    def shown(self):
        return held(self.az(self.command, "identity", "show", *self.where))


def named(identities):
    return ("--identities", *identities) if identities else ()
