"""azure-mgmt-resource-deployments: templates as JSON. Source: specs/az-cli-calls.md, section 6."""

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.mgmt.resource.deployments import DeploymentsMgmtClient
from azure.mgmt.resource.deployments.models import (
    Deployment,
    DeploymentProperties,
    DeploymentWhatIf,
    DeploymentWhatIfProperties,
)

IDENTITIES = "Microsoft.ManagedIdentity/userAssignedIdentities"
TEMPLATE = {
    "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
    "contentVersion": "1.0.0.0",
    "parameters": {"name": {"type": "string"}},
    "resources": [
        {"type": IDENTITIES, "apiVersion": "2023-01-31", "name": "[parameters('name')]", "location": "eastus"}
    ],
    "outputs": {
        "principal": {
            "type": "string",
            "value": f"[reference(resourceId('{IDENTITIES}', parameters('name'))).principalId]",
        }
    },
}


@pytest.fixture
def client(management):
    return management(DeploymentsMgmtClient)


def properties(kind=DeploymentProperties, template=TEMPLATE, name="one"):
    return kind(mode="Incremental", template=template, parameters={"name": {"value": name}})


def test_a_template_is_deployed_and_its_history_kept(client, arm, group, group_name):
    deployments = client.deployments
    made = deployments.begin_create_or_update(group_name, "first", Deployment(properties=properties())).result()
    assert made.properties.provisioning_state == "Succeeded"
    identity = arm.must("GET", f"{group}/providers/{IDENTITIES}/one")
    assert made.properties.outputs["principal"]["value"] == identity["properties"]["principalId"]
    assert deployments.get(group_name, "first").id == made.id
    assert deployments.check_existence(group_name, "first") is True
    assert [each.name for each in deployments.list_by_resource_group(group_name)] == ["first"]
    steps = list(client.deployment_operations.list(group_name, "first"))
    assert {each.properties.provisioning_state for each in steps} == {"Succeeded"}
    assert deployments.export_template(group_name, "first").template["parameters"] == TEMPLATE["parameters"]
    deployments.begin_delete(group_name, "first").result()
    assert deployments.check_existence(group_name, "first") is False
    with pytest.raises(ResourceNotFoundError) as caught:
        deployments.get(group_name, "first")
    assert caught.value.error.code == "DeploymentNotFound"


def test_histories_come_in_pages_of_the_wanted_size(client, group_name):
    names = {f"deployment-{number}" for number in range(5)}
    for name in names:
        client.deployments.begin_create_or_update(group_name, name, Deployment(properties=properties())).result()
    pages = [list(page) for page in client.deployments.list_by_resource_group(group_name, top=2).by_page()]
    assert all(len(page) <= 2 for page in pages) and len(pages) >= 3
    assert {each.name for page in pages for each in page} == names


def test_a_template_is_validated_and_its_changes_foretold(client, group_name):
    checked = client.deployments.begin_validate(group_name, "v", Deployment(properties=properties())).result()
    assert checked.error is None
    asked = DeploymentWhatIf(properties=properties(DeploymentWhatIfProperties))
    foretold = client.deployments.begin_what_if(group_name, "w", asked).result()
    assert [each.change_type for each in foretold.changes] == ["Create"]


def test_a_wrong_template_is_refused_with_a_typed_error(client, group_name):
    wrong = {**TEMPLATE, "resources": [{**TEMPLATE["resources"][0], "name": "[nothing('x')]"}]}
    with pytest.raises(HttpResponseError) as caught:
        client.deployments.begin_create_or_update(
            group_name, "wrong", Deployment(properties=properties(template=wrong))
        ).result()
    assert (caught.value.status_code, caught.value.error.code) == (400, "InvalidTemplate")
    assert "nothing" in caught.value.error.message
