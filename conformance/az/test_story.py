"""The whole story in one template: a scale set with an identity of its own and a user-assigned one, a vault, a secret, and
the roles between them; then a workload on an instance of the set reads the secret.
"""

import pytest

from commands import Keycard

SECRETS_USER = "4633458b-17de-408a-b874-0445c86b69e6"
IDENTITY = "resourceId('Microsoft.ManagedIdentity/userAssignedIdentities', 'worker')"
SET = "resourceId('Microsoft.Compute/virtualMachineScaleSets', parameters('set'))"
VAULT = "resourceId('Microsoft.KeyVault/vaults', parameters('vault'))"
WORD = "a word that only workloads know"


def role(seed, principal, needs):
    return {
        "type": "Microsoft.Authorization/roleAssignments",
        "apiVersion": "2022-04-01",
        "scope": f"[{VAULT}]",
        "name": f"[guid({VAULT}, '{seed}', variables('role'))]",
        "dependsOn": [f"[{VAULT}]", f"[{needs}]"],
        "properties": {
            "roleDefinitionId": "[variables('role')]",
            "principalId": f"[{principal}]",
            "principalType": "ServicePrincipal",
        },
    }


TEMPLATE = {
    "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
    "contentVersion": "1.0.0.0",
    "parameters": {
        "vault": {"type": "string"},
        "set": {"type": "string"},
        "word": {"type": "securestring"},
        "location": {"type": "string", "defaultValue": "[resourceGroup().location]"},
    },
    "variables": {"role": f"[subscriptionResourceId('Microsoft.Authorization/roleDefinitions', '{SECRETS_USER}')]"},
    "resources": [
        {
            "type": "Microsoft.ManagedIdentity/userAssignedIdentities",
            "apiVersion": "2023-01-31",
            "name": "worker",
            "location": "[parameters('location')]",
        },
        {
            "type": "Microsoft.KeyVault/vaults",
            "apiVersion": "2023-07-01",
            "name": "[parameters('vault')]",
            "location": "[parameters('location')]",
            "properties": {
                "tenantId": "[subscription().tenantId]",
                "sku": {"family": "A", "name": "standard"},
                "enableRbacAuthorization": True,
            },
        },
        {
            "type": "Microsoft.KeyVault/vaults/secrets",
            "apiVersion": "2023-07-01",
            "name": "[format('{0}/{1}', parameters('vault'), 'word')]",
            "dependsOn": [f"[{VAULT}]"],
            "properties": {"value": "[parameters('word')]"},
        },
        {
            "type": "Microsoft.Compute/virtualMachineScaleSets",
            "apiVersion": "2024-07-01",
            "name": "[parameters('set')]",
            "location": "[parameters('location')]",
            "dependsOn": [f"[{IDENTITY}]"],
            "sku": {"name": "Standard_B1s", "tier": "Standard", "capacity": 2},
            "identity": {
                "type": "SystemAssigned, UserAssigned",
                "userAssignedIdentities": {f"[{IDENTITY}]": {}},
            },
            "properties": {"orchestrationMode": "Uniform", "upgradePolicy": {"mode": "Manual"}},
        },
        role("set", f"reference({SET}, '2024-07-01', 'Full').identity.principalId", SET),
        role("worker", f"reference({IDENTITY}, '2023-01-31').principalId", IDENTITY),
    ],
    "outputs": {
        "worker": {"type": "string", "value": f"[reference({IDENTITY}, '2023-01-31').clientId]"},
        "principal": {"type": "string", "value": f"[reference({SET}, '2024-07-01', 'Full').identity.principalId]"},
    },
}


@pytest.fixture(scope="module")
def names(new_vault_name, new_name):
    return {"vault": new_vault_name(), "set": new_name("set")}


@pytest.fixture(scope="module")
def deploying(az, group, names):
    """The words of each command about this template."""
    file = az.write("story.json", TEMPLATE)
    parameters = [f"{name}={value}" for name, value in {**names, "word": WORD}.items()]
    return ("-g", group, "--template-file", file, "--parameters", *parameters)


@pytest.fixture(scope="module")
def deployed(az, deploying):
    properties = az("deployment", "group", "create", "-n", "story", *deploying)["properties"]
    assert properties["provisioningState"] == "Succeeded"
    return {name: each["value"] for name, each in properties["outputs"].items()}


@pytest.mark.short
def test_one_deployment_makes_everything(az, group, names, deployed):
    held = az("vmss", "identity", "show", "-g", group, "-n", names["set"])
    assert held["principalId"] == deployed["principal"]
    worker = az("identity", "show", "-g", group, "-n", "worker")
    assert worker["clientId"] == deployed["worker"]
    vault = az("keyvault", "show", "-n", names["vault"])["id"]
    given = az("role", "assignment", "list", "--scope", vault)
    assert {each["principalId"] for each in given} == {deployed["principal"], worker["principalId"]}
    assert {each["roleDefinitionName"] for each in given} == {"Key Vault Secrets User"}


@pytest.mark.short
def test_the_same_once_more_changes_nothing(az, deploying, deployed):
    changes = az("deployment", "group", "what-if", "--no-pretty-print", *deploying)["changes"]
    foretold = {each["resourceId"].rsplit("/providers/", 1)[1]: each["changeType"] for each in changes}
    secret = [name for name in foretold if "/secrets/" in name]
    assert {kind for name, kind in foretold.items() if name not in secret} == {"NoChange"}, foretold
    # What a secret is worth is never read, not even to compare it.
    assert {foretold[name] for name in secret} <= {"NoChange", "Modify", "Deploy"}
    again = az("deployment", "group", "create", "-n", "story", *deploying)["properties"]
    assert {name: each["value"] for name, each in again["outputs"].items()} == deployed


@pytest.mark.parametrize("who", ["set", "worker"])
@pytest.mark.short
def test_a_workload_on_an_instance_reads_the_secret(subject, new_az, names, deployed, who):
    """By the metadata endpoint of its instance, and with the vault's own challenge."""
    variables = Keycard(subject["command"]).json("env", "--as", f"{names['set']}_0", "--kind", "imds")
    workload = new_az(AZURE_POD_IDENTITY_AUTHORITY_HOST=variables["AZURE_POD_IDENTITY_AUTHORITY_HOST"])
    selector = ("--client-id", deployed["worker"]) if who == "worker" else ()
    (account,) = workload.login("--identity", *selector)
    assert account["user"]["type"] == "servicePrincipal"
    shown = workload("keyvault", "secret", "show", "--vault-name", names["vault"], "-n", "word")
    assert shown["value"] == WORD
    refusal = workload.fails("keyvault", "secret", "set", "--vault-name", names["vault"], "-n", "word", "--value", "x")
    assert refusal.code == "Forbidden"
