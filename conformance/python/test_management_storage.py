"""azure-mgmt-storage: accounts, their keys and identity. Source: specs/az-cli-calls.md, section 6."""

import uuid

import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.mgmt.storage import StorageManagementClient
from azure.mgmt.storage.models import (
    Identity,
    Sku,
    StorageAccountCheckNameAvailabilityParameters,
    StorageAccountCreateParameters,
    StorageAccountUpdateParameters,
)


@pytest.fixture
def accounts(management):
    return management(StorageManagementClient).storage_accounts


def test_an_account_is_made_changed_listed_and_deleted(accounts, group_name):
    name = f"store{uuid.uuid4().hex[:12]}"
    asked = StorageAccountCheckNameAvailabilityParameters(name=name)
    assert accounts.check_name_availability(asked).name_available is True
    wanted = StorageAccountCreateParameters(
        sku=Sku(name="Standard_LRS"), kind="StorageV2", location="eastus", identity=Identity(type="SystemAssigned")
    )
    made = accounts.begin_create(group_name, name, wanted).result()
    assert made.identity.type == "SystemAssigned" and made.identity.principal_id
    assert accounts.check_name_availability(asked).name_available is False
    assert accounts.get_properties(group_name, name).id == made.id
    changed = accounts.update(group_name, name, StorageAccountUpdateParameters(tags={"a": "1"}))
    assert (changed.tags, changed.identity.principal_id) == ({"a": "1"}, made.identity.principal_id)
    assert accounts.list_keys(group_name, name).keys_property == [], "another than Azure's: accounts have no keys"
    assert [each.name for each in accounts.list_by_resource_group(group_name)] == [name]
    assert name in {each.name for each in accounts.list()}
    accounts.delete(group_name, name)
    with pytest.raises(ResourceNotFoundError):
        accounts.get_properties(group_name, name)
