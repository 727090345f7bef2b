"""The set-up every suite relies on, told over the public wire as an administrator would: what exists and who may do what.

One resource group; two user-assigned identities, one of them attached; a site; virtual machines for each way of having
identities, one to which suites attach the identities of workloads that they make up, and one on which keys are bound; two vaults with RBAC, the VM's
system-assigned identity being a Secrets User on the first only, and one vault that goes by access policies.
"""

import secrets
import time
import uuid

import requests

RESOURCE_GROUP = "conformance"
LINK_LOCAL_VM = "vm-both"
WORKLOADS_VM = "vm-workloads"
TRUSTED_VM, TRUSTED_NONE_VM = "vm-trusted", "vm-trusted-none"
SITE = "site-both"
ATTACHED_IDENTITY, OTHER_IDENTITY = "identity-attached", "identity-other"
GRANTED_VAULT, DENIED_VAULT = "conformance-granted", "conformance-denied"
POLICY_VAULT = "conformance-policies"
VAULTS = (GRANTED_VAULT, DENIED_VAULT, POLICY_VAULT)
# Names under which suites make vaults of their own; in a namespace no others are found.
FREE_VAULT_NAMES = tuple(f"conformance-made-{number}" for number in range(1, 21))
SECRET = "conformance-secret"

API_VERSIONS = {
    "group": "2024-11-01",
    "Microsoft.ManagedIdentity/userAssignedIdentities": "2024-11-30",
    "Microsoft.Compute/virtualMachines": "2024-07-01",
    "Microsoft.Web/sites": "2023-12-01",
    "Microsoft.KeyVault/vaults": "2023-07-01",
    "Microsoft.Authorization/roleAssignments": "2022-04-01",
}

# Source: Microsoft Learn, "Azure built-in roles for Security".
SECRETS_OFFICER = "b86a8fe4-44ce-4948-aee5-eccb2c155cd7"
SECRETS_USER = "4633458b-17de-408a-b874-0445c86b69e6"

SETTLE_SECONDS_MAX = 20
UNSETTLED = ("Creating", "Updating", "Accepted", "Running", "InProgress")


class Failed(Exception):
    """The set-up was refused: no suite can run."""


class Administrator:
    """The bootstrap administrator as a plain HTTP client of Resource Manager."""

    def __init__(self, ready):
        self.base = ready["endpoints"]["loopback"]
        self.subscription = f"/subscriptions/{ready['subscriptionId']}"
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.verify = ready["caFile"]
        self.ready = ready
        self.session.headers["Authorization"] = f"Bearer {self.token('https://management.azure.com')}"

    def token(self, audience):
        """Client credentials. Source: Microsoft Learn, "OAuth 2.0 client credentials flow", first case."""
        answer = self.session.post(
            f"{self.base}/{self.ready['tenantId']}/oauth2/v2.0/token",
            data={
                "grant_type": "client_credentials",
                "client_id": self.ready["administrator"]["clientId"],
                "client_secret": self.ready["administrator"]["clientSecret"],
                "scope": f"{audience}/.default",
            },
        )
        if answer.status_code != 200:
            raise Failed(f"the administrator got no token: {answer.status_code} {answer.text}")
        return answer.json()["access_token"]

    def put(self, path, kind, body):
        """PUTs and waits until the resource has settled; its last representation."""
        url = f"{self.base}{path}?api-version={API_VERSIONS[kind]}"
        answer = self.session.put(url, json=body)
        if answer.status_code not in (200, 201, 202):
            raise Failed(f"PUT {path} was refused: {answer.status_code} {answer.text}")
        deadline = time.monotonic() + SETTLE_SECONDS_MAX
        while answer.status_code == 202 or answer.json().get("properties", {}).get("provisioningState") in UNSETTLED:
            if time.monotonic() > deadline:
                raise Failed(f"PUT {path} had not settled after {SETTLE_SECONDS_MAX} s: {answer.text}")
            time.sleep(0.05)
            answer = self.session.get(url)
        return answer.json()

    def put_resource(self, kind, name, body):
        path = f"{self.subscription}/resourceGroups/{RESOURCE_GROUP}/providers/{kind}/{name}"
        return self.put(path, kind, {"location": "eastus", **body})

    def set_secret(self, vault, name, value):
        """Asks the vault by Host header, since its name need not resolve here."""
        answer = self.session.put(
            f"{self.base}/secrets/{name}?api-version=7.4",
            json={"value": value},
            headers={
                "Host": f"{vault}{self.ready['suffixes']['keyVaultDns']}",
                "Authorization": f"Bearer {self.token('https://vault.azure.net')}",
            },
        )
        if answer.status_code != 200:
            raise Failed(f"the administrator could not set a secret: {answer.status_code} {answer.text}")

    def grant(self, role, principal_id, scope):
        kind = "Microsoft.Authorization/roleAssignments"
        role_id = f"{self.subscription}/providers/Microsoft.Authorization/roleDefinitions/{role}"
        properties = {"roleDefinitionId": role_id, "principalId": principal_id, "principalType": "ServicePrincipal"}
        return self.put(f"{scope}/providers/{kind}/{uuid.uuid4()}", kind, {"properties": properties})


def tell(ready):
    """Makes everything; returns the ARM representations by role in the story."""
    administrator = Administrator(ready)
    administrator.put(f"{administrator.subscription}/resourceGroups/{RESOURCE_GROUP}", "group", {"location": "eastus"})
    identities = {
        name: administrator.put_resource("Microsoft.ManagedIdentity/userAssignedIdentities", name, {})
        for name in (ATTACHED_IDENTITY, OTHER_IDENTITY)
    }
    attached, other = (identities[name]["id"] for name in (ATTACHED_IDENTITY, OTHER_IDENTITY))
    machines = {
        name: administrator.put_resource(
            "Microsoft.Compute/virtualMachines",
            name,
            {"properties": {"hardwareProfile": {"vmSize": "Standard_B1s"}}, **identity},
        )
        for name, identity in {
            LINK_LOCAL_VM: identity_block("SystemAssigned, UserAssigned", attached),
            "vm-none": {},
            WORKLOADS_VM: identity_block("UserAssigned", attached),
            "vm-one-user": identity_block("UserAssigned", attached),
            "vm-two-users": identity_block("UserAssigned", attached, other),
        }.items()
    }
    trusted = {"securityProfile": {"securityType": "TrustedLaunch"}}
    for name, identity in {
        TRUSTED_VM: identity_block("SystemAssigned, UserAssigned", attached),
        TRUSTED_NONE_VM: {},
    }.items():
        machines[name] = administrator.put_resource(
            "Microsoft.Compute/virtualMachines", name, {**identity, "properties": trusted}
        )
    site = administrator.put_resource(
        "Microsoft.Web/sites", SITE, {**identity_block("SystemAssigned, UserAssigned", attached), "properties": {}}
    )
    vaults = {name: make_vault(administrator, ready["tenantId"], name, name != POLICY_VAULT) for name in VAULTS}
    system_principal = machines[LINK_LOCAL_VM]["identity"]["principalId"]
    administrator.grant(SECRETS_OFFICER, ready["administrator"]["objectId"], vaults[GRANTED_VAULT]["id"])
    administrator.grant(SECRETS_USER, system_principal, vaults[GRANTED_VAULT]["id"])
    secret = {"name": SECRET, "value": secrets.token_urlsafe(24)}
    administrator.set_secret(GRANTED_VAULT, **secret)
    return {"identities": identities, "machines": machines, "site": site, "vaults": vaults, "secret": secret}


def identity_block(kind, *user_assigned):
    return {"identity": {"type": kind, "userAssignedIdentities": {identity: {} for identity in user_assigned}}}


def make_vault(administrator, tenant_id, name, uses_rbac):
    sku = {"family": "A", "name": "standard"}
    properties = {"tenantId": tenant_id, "sku": sku, "enableRbacAuthorization": uses_rbac, "accessPolicies": []}
    return administrator.put_resource("Microsoft.KeyVault/vaults", name, {"properties": properties})
