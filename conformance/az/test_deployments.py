"""az deployment: templates at a resource group and at the subscription.

Source: specs/az-cli-calls.md, 3.8; numbers: specs/azure-semantics.md, section 12.
"""

import json

import pytest

from azure_cli import NOT_FOUND, REFUSED

GROUP_SCHEMA = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#"
SUBSCRIPTION_SCHEMA = "https://schema.management.azure.com/schemas/2018-05-01/subscriptionDeploymentTemplate.json#"
IDENTITIES = "Microsoft.ManagedIdentity/userAssignedIdentities"
READER = "acdd72a7-3385-48ef-bd42-f606fba81ae7"


def template(resources, schema=GROUP_SCHEMA, **more):
    return {"$schema": schema, "contentVersion": "1.0.0.0", "resources": resources, **more}


def identity(name, **more):
    return {"type": IDENTITIES, "apiVersion": "2023-01-31", "name": name, "location": "eastus", **more}


@pytest.fixture
def place(az, new_name):
    """An empty resource group of the test's own: its name."""
    name = new_name("group")
    az("group", "create", "-n", name, "-l", "eastus")
    yield name
    az("group", "delete", "-n", name, "-y", "--no-wait")


@pytest.fixture
def named_identity(az):
    """The file of a template that makes one identity, and says its principal."""
    made = template(
        [identity("[parameters('name')]", tags={"size": "[parameters('size')]"})],
        parameters={"name": {"type": "string"}, "size": {"type": "string", "defaultValue": "small"}},
        outputs={
            "principal": {
                "type": "string",
                "value": f"[reference(resourceId('{IDENTITIES}', parameters('name'))).principalId]",
            }
        },
    )
    return az.write("identity.json", made)


@pytest.mark.short
def test_a_template_is_deployed_shown_listed_exported_and_forgotten(az, place, named_identity):
    deployed = az(
        *("deployment", "group", "create", "-g", place, "--template-file", named_identity, "--parameters", "name=one"),
    )
    assert (deployed["name"], deployed["type"]) == ("identity", "Microsoft.Resources/deployments")
    properties = deployed["properties"]
    assert (properties["provisioningState"], properties["mode"], properties["error"]) == (
        "Succeeded",
        "Incremental",
        None,
    )
    assert properties["parameters"]["name"]["value"] == "one"
    made = az("identity", "show", "-g", place, "-n", "one")
    assert properties["outputs"]["principal"] == {"type": "String", "value": made["principalId"]}
    assert [each["id"].lower() for each in properties["outputResources"]] == [made["id"].lower()]
    assert properties["correlationId"] and properties["duration"].startswith("PT") and properties["timestamp"]
    where = ("-g", place, "-n", "identity")
    assert az("deployment", "group", "show", *where)["id"] == deployed["id"]
    assert [each["name"] for each in az("deployment", "group", "list", "-g", place)] == ["identity"]
    exported = az("deployment", "group", "export", *where)
    assert exported["parameters"]["size"]["defaultValue"] == "small"
    az("deployment", "group", "delete", *where)
    refusal = az.fails("deployment", "group", "show", *where)
    assert (refusal.status, refusal.code) == (NOT_FOUND, "DeploymentNotFound")
    assert az("identity", "show", "-g", place, "-n", "one")["id"] == made["id"], "what it made stays"


def test_its_operations_tell_each_step(az, place, named_identity):
    az("deployment", "group", "create", "-g", place, "-n", "d", "-f", named_identity, "-p", "name=one")
    operations = az("deployment", "operation", "group", "list", "-g", place, "-n", "d")
    steps = [each["properties"] for each in operations]
    assert {each["provisioningState"] for each in steps} == {"Succeeded"}
    (created,) = (each for each in steps if each["provisioningOperation"] == "Create")
    assert created["targetResource"]["resourceType"] == IDENTITIES
    assert created["targetResource"]["resourceName"] == "one"


def test_parameters_come_from_a_file_too(az, place, named_identity):
    values = {
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentParameters.json#",
        "contentVersion": "1.0.0.0",
        "parameters": {"name": {"value": "from-file"}, "size": {"value": "large"}},
    }
    file = az.write("identity.parameters.json", values)
    az("deployment", "group", "create", "-g", place, "-f", named_identity, "-p", f"@{file}", "size=huge")
    assert az("identity", "show", "-g", place, "-n", "from-file")["tags"] == {"size": "huge"}


def test_a_template_with_comments_and_trailing_commas_is_read(az, place):
    text = """{
      // az sends this file as it is.
      "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
      "contentVersion": "1.0.0.0",
      /* more
         words */
      "resources": [
        {"type": "Microsoft.ManagedIdentity/userAssignedIdentities", "apiVersion": "2023-01-31",
         "name": "commented", "location": "[resourceGroup().location]",},
      ],
    }"""
    az("deployment", "group", "create", "-g", place, "-f", az.write("comments.json", text))
    assert az("identity", "show", "-g", place, "-n", "commented")["location"] == "eastus"


def test_a_valid_template_is_validated_and_makes_nothing(az, place, named_identity):
    checked = az("deployment", "group", "validate", "-g", place, "-f", named_identity, "-p", "name=one")
    assert checked["properties"]["provisioningState"] == "Succeeded"
    assert az("identity", "list", "-g", place) == []


@pytest.mark.parametrize(
    "broken, words",
    [
        ({"resources": [identity("[nothing('x')]")]}, "nothing"),
        ({"resources": [identity("[parameters('missing')]")]}, "missing"),
    ],
    ids=["function", "parameter"],
)
@pytest.mark.parametrize("verb", ["validate", "create"])
def test_a_wrong_template_is_refused_with_its_reason(az, place, broken, words, verb):
    """92"""
    file = az.write("broken.json", template(broken["resources"]))
    refusal = az.fails("deployment", "group", verb, "-g", place, "-f", file)
    assert refusal.status == REFUSED
    assert "InvalidTemplate" in refusal.words
    assert words in refusal.words
    assert az("identity", "list", "-g", place) == []


def test_a_missing_parameter_is_asked_for(az, place, named_identity):
    """az looks itself, before it asks."""
    refusal = az.fails("deployment", "group", "validate", "-g", place, "-f", named_identity)
    assert "name" in refusal.words


@pytest.mark.short
def test_what_if_foretells_what_changes(az, place, named_identity):
    def foretold(*parameters):
        changes = az(
            *("deployment", "group", "what-if", "-g", place, "-f", named_identity, "--no-pretty-print"),
            *("-p", *parameters),
        )["changes"]
        return {each["resourceId"].rsplit("/", 1)[1]: each["changeType"] for each in changes}

    assert foretold("name=one") == {"one": "Create"}
    az("deployment", "group", "create", "-g", place, "-f", named_identity, "-p", "name=one")
    assert foretold("name=one") == {"one": "NoChange"}
    assert foretold("name=one", "size=large") == {"one": "Modify"}
    assert foretold("name=two") == {"two": "Create", "one": "Ignore"}
    printed = az.must(
        "deployment", "group", "what-if", "-g", place, "-f", named_identity, "-p", "name=one", "size=large"
    )
    assert '~ tags.size: "small" => "large"' in " ".join(printed.output.split())
    assert az("identity", "show", "-g", place, "-n", "one")["tags"] == {"size": "small"}


@pytest.mark.short
def test_a_failed_deployment_says_what_failed(az, place):
    nobody = f"[resourceId('{IDENTITIES}', 'nobody')]"
    machine = {
        "type": "Microsoft.Compute/virtualMachines",
        "apiVersion": "2024-07-01",
        "name": "vm",
        "location": "eastus",
        "identity": {
            "type": "UserAssigned",
            "userAssignedIdentities": {f"[format('{{0}}', resourceId('{IDENTITIES}', 'nobody'))]": {}},
        },
        "properties": {"hardwareProfile": {"vmSize": "Standard_B1s"}},
    }
    file = az.write("failing.json", template([identity("before"), machine], variables={"id": nobody}))
    refusal = az.fails("deployment", "group", "create", "-g", place, "-f", file)
    assert refusal.status == REFUSED
    assert "DeploymentFailed" in refusal.words
    assert "FailedIdentityOperation" in refusal.words
    shown = az("deployment", "group", "show", "-g", place, "-n", "failing")
    assert shown["properties"]["provisioningState"] == "Failed"
    operations = az("deployment", "operation", "group", "list", "-g", place, "-n", "failing")
    states = {
        each["properties"]["targetResource"]["resourceName"]: each["properties"]["provisioningState"]
        for each in operations
    }
    assert states == {"before": "Succeeded", "vm": "Failed"}


def test_complete_mode_deletes_what_the_template_does_not_name(az, place, named_identity):
    az("identity", "create", "-g", place, "-n", "other")
    az("deployment", "group", "create", "-g", place, "-f", named_identity, "-p", "name=one", "--mode", "Complete")
    assert [each["name"] for each in az("identity", "list", "-g", place)] == ["one"]


def test_a_role_given_in_a_template_counts(subject, az, place, new_name):
    """90"""
    resources = [
        identity("worker"),
        {
            "type": "Microsoft.Authorization/roleAssignments",
            "apiVersion": "2022-04-01",
            "name": "[guid(resourceGroup().id, 'worker')]",
            "dependsOn": [f"[resourceId('{IDENTITIES}', 'worker')]"],
            "properties": {
                "roleDefinitionId": f"[subscriptionResourceId('Microsoft.Authorization/roleDefinitions', '{READER}')]",
                "principalId": f"[reference(resourceId('{IDENTITIES}', 'worker')).principalId]",
                "principalType": "ServicePrincipal",
            },
        },
    ]
    file = az.write("role.json", template(resources))
    for _ in range(2):
        az("deployment", "group", "create", "-g", place, "-f", file)
    worker = az("identity", "show", "-g", place, "-n", "worker")
    (given,) = az("role", "assignment", "list", "-g", place, "--assignee", worker["clientId"])
    assert given["roleDefinitionName"] == "Reader"


def test_a_subscription_template_makes_a_group_and_what_is_in_it(az, new_name):
    name = new_name("group")
    inner = template([identity("inner")])
    resources = [
        {"type": "Microsoft.Resources/resourceGroups", "apiVersion": "2024-03-01", "name": name, "location": "eastus"},
        {
            "type": "Microsoft.Resources/deployments",
            "apiVersion": "2022-09-01",
            "name": "inner",
            "resourceGroup": name,
            "dependsOn": [f"[subscriptionResourceId('Microsoft.Resources/resourceGroups', '{name}')]"],
            "properties": {"mode": "Incremental", "template": inner},
        },
    ]
    file = az.write("subscription.json", template(resources, schema=SUBSCRIPTION_SCHEMA))
    where = ("-l", "eastus", "-n", name)
    az("deployment", "sub", "validate", *where, "-f", file)
    deployed = az("deployment", "sub", "create", *where, "-f", file)
    assert (deployed["location"], deployed["properties"]["provisioningState"]) == ("eastus", "Succeeded")
    assert az("identity", "show", "-g", name, "-n", "inner")["principalId"]
    assert az("deployment", "sub", "show", "-n", name)["id"] == deployed["id"]
    assert name in [each["name"] for each in az("deployment", "sub", "list")]
    assert az("deployment", "operation", "sub", "list", "-n", name)
    az("deployment", "sub", "delete", "-n", name)
    assert az.fails("deployment", "sub", "show", "-n", name).status == NOT_FOUND
    az("group", "delete", "-n", name, "-y")


def test_who_may_not_deploy_is_refused(reader, group):
    file = reader.write("one.json", template([identity("one")]))
    refusal = reader.fails("deployment", "group", "create", "-g", group, "-f", file)
    assert refusal.status == REFUSED
    assert "AuthorizationFailed" in refusal.words
    assert "microsoft.resources/deployments/" in refusal.words.lower()


def test_a_deployment_needs_no_waiting(az, place, named_identity):
    az("deployment", "group", "create", "-g", place, "-n", "d", "-f", named_identity, "-p", "name=one", "--no-wait")
    az("deployment", "group", "wait", "-g", place, "-n", "d", "--created", "--interval", "1", "--timeout", "20")
    assert az("identity", "show", "-g", place, "-n", "one")["principalId"]


def test_secure_values_are_not_shown(az, place):
    made = template(
        [identity("one")],
        parameters={"password": {"type": "securestring"}},
        outputs={"o": {"type": "string", "value": "x"}},
    )
    file = az.write("secure.json", made)
    deployed = az("deployment", "group", "create", "-g", place, "-f", file, "-p", "password=very-secret-word")
    assert "very-secret-word" not in json.dumps(deployed)
    assert "very-secret-word" not in json.dumps(az("deployment", "group", "show", "-g", place, "-n", "secure"))
