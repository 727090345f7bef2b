"""azure-mgmt-resource: groups, any resource, tags, providers. Source: specs/az-cli-calls.md, section 6."""

import uuid

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.mgmt.resource.resources import ResourceManagementClient
from azure.mgmt.resource.resources.models import GenericResource, ResourceGroup, Tags, TagsResource

IDENTITY = "providers/Microsoft.ManagedIdentity/userAssignedIdentities"
VERSION = "2024-11-30"


@pytest.fixture
def resources(management):
    return management(ResourceManagementClient)


def test_a_group_is_made_found_listed_and_deleted(resources):
    groups, name = resources.resource_groups, f"group-{uuid.uuid4().hex[:12]}"
    assert groups.check_existence(name) is False
    made = groups.create_or_update(name, ResourceGroup(location="eastus", tags={"owner": name}))
    assert (made.name, made.location, made.properties.provisioning_state) == (name, "eastus", "Succeeded")
    assert groups.check_existence(name) is True
    assert groups.get(name).tags == {"owner": name}
    assert name in {each.name for each in groups.list()}
    assert [each.name for each in groups.list(filter=f"tagName eq 'owner' and tagValue eq '{name}'")] == [name]
    groups.begin_delete(name).result()
    assert groups.check_existence(name) is False
    with pytest.raises(ResourceNotFoundError) as caught:
        groups.get(name)
    assert caught.value.error.code == "ResourceGroupNotFound"


def test_listings_come_in_pages_of_the_wanted_size(resources, group, group_name):
    made = set()
    for number in range(5):
        path = f"{group}/{IDENTITY}/identity-{number}"
        made.add(
            resources.resources.begin_create_or_update_by_id(
                path, GenericResource(location="eastus"), api_version=VERSION
            )
            .result()
            .id
        )
    for listing in (
        resources.resources.list(top=2),
        resources.resources.list_by_resource_group(group_name, top=2),
        resources.resource_groups.list(top=1),
    ):
        pages = [list(page) for page in listing.by_page()]
        ids = [each.id.lower() for page in pages for each in page]
        assert len(ids) == len(set(ids)), "each once"
        assert all(len(page) <= 2 for page in pages)
        assert len(pages) > 1
    whole = {each.id.lower() for each in resources.resources.list_by_resource_group(group_name)}
    assert whole == {each.lower() for each in made}


def test_any_resource_is_made_got_patched_and_deleted(resources, group):
    path = f"{group}/{IDENTITY}/one"
    every = resources.resources
    made = every.begin_create_or_update_by_id(path, GenericResource(location="eastus"), api_version=VERSION).result()
    assert made.properties["principalId"]
    changed = every.begin_update_by_id(path, GenericResource(tags={"a": "1"}), api_version=VERSION).result()
    assert changed.tags == {"a": "1"}
    assert every.get_by_id(path, api_version=VERSION).properties == made.properties
    assert every.check_existence_by_id(path, api_version=VERSION) is True
    every.begin_delete_by_id(path, api_version=VERSION).result()
    with pytest.raises(ResourceNotFoundError) as caught:
        every.get_by_id(path, api_version=VERSION)
    assert caught.value.error.code == "ResourceNotFound"


def test_tags_are_put_and_merged_at_a_resource(resources, group):
    tags = resources.tags
    put = tags.begin_create_or_update_at_scope(group, TagsResource(properties=Tags(tags={"a": "1"}))).result()
    assert put.properties.tags == {"a": "1"}
    merge = {"operation": "Merge", "properties": {"tags": {"b": "2"}}}
    assert tags.begin_update_at_scope(group, merge).result().properties.tags == {"a": "1", "b": "2"}
    tags.begin_delete_at_scope(group).result()
    assert not tags.get_at_scope(group).properties.tags


def test_providers_are_listed_and_registered(resources):
    listed = {each.namespace: each for each in resources.providers.list()}
    assert {"Microsoft.ManagedIdentity", "Microsoft.Compute", "Microsoft.KeyVault"} <= set(listed)
    assert resources.providers.register("Microsoft.HybridCompute").namespace == "Microsoft.HybridCompute"
    kinds = {each.resource_type for each in resources.providers.get("Microsoft.ManagedIdentity").resource_types}
    assert "userAssignedIdentities" in kinds
    with pytest.raises(HttpResponseError) as caught:
        resources.providers.get("Contoso.Nothing")
    assert caught.value.error.code == "InvalidResourceNamespace"
