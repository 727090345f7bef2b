"""azure-mgmt-keyvault: vaults, access policies, soft delete. Source: specs/az-cli-calls.md, section 6."""

import uuid

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.mgmt.keyvault import KeyVaultManagementClient
from azure.mgmt.keyvault.models import (
    AccessPolicyEntry,
    Permissions,
    Sku,
    VaultAccessPolicyParameters,
    VaultAccessPolicyProperties,
    VaultCreateOrUpdateParameters,
    VaultProperties,
)


@pytest.fixture
def vaults(management):
    return management(KeyVaultManagementClient).vaults


@pytest.fixture
def name():
    return f"vault-{uuid.uuid4().hex[:12]}"


def wanted(subject, **more):
    sku = Sku(family="A", name="standard")
    properties = VaultProperties(tenant_id=subject["tenantId"], sku=sku, access_policies=[], **more)
    return VaultCreateOrUpdateParameters(location="eastus", properties=properties)


def test_a_vault_is_made_listed_deleted_and_purged(subject, vaults, group_name, name):
    made = vaults.begin_create_or_update(group_name, name, wanted(subject)).result()
    assert made.properties.enable_rbac_authorization is True, "from 2026-02-01 on"
    assert made.properties.vault_uri.startswith(f"https://{name}.")
    assert vaults.get(group_name, name).id == made.id
    assert name in {each.name for each in vaults.list_by_resource_group(group_name)}
    assert name in {each.name for each in vaults.list_by_subscription()}
    assert name in {each.name for each in vaults.list()}
    vaults.delete(group_name, name)
    with pytest.raises(ResourceNotFoundError):
        vaults.get(group_name, name)
    assert vaults.get_deleted(name, "eastus").properties.vault_id.lower() == made.id.lower()
    assert name in {each.name for each in vaults.list_deleted()}
    vaults.begin_purge_deleted(name, "eastus").result()
    assert name not in {each.name for each in vaults.list_deleted()}


def test_access_policies_are_added_replaced_and_removed(subject, vaults, group_name, name):
    vaults.begin_create_or_update(group_name, name, wanted(subject, enable_rbac_authorization=False)).result()
    identity = subject["identities"]["other"]["principalId"]

    def update(verb, *words):
        entry = AccessPolicyEntry(
            tenant_id=subject["tenantId"], object_id=identity, permissions=Permissions(secrets=list(words))
        )
        changed = VaultAccessPolicyParameters(properties=VaultAccessPolicyProperties(access_policies=[entry]))
        vaults.update_access_policy(group_name, name, verb, changed)
        kept = vaults.get(group_name, name).properties.access_policies
        return {each.object_id: sorted(each.permissions.secrets) for each in kept}

    assert update("add", "get") == {identity: ["get"]}
    assert update("add", "list") == {identity: ["get", "list"]}
    assert update("replace", "set") == {identity: ["set"]}
    assert update("remove", "set") in ({}, {identity: []})


def test_a_free_name_is_told_from_a_taken_one(subject, vaults, name):
    kind = "Microsoft.KeyVault/vaults"
    assert vaults.check_name_availability({"name": name, "type": kind}).name_available is True
    taken = vaults.check_name_availability({"name": subject["vaults"]["granted"]["name"], "type": kind})
    assert (taken.name_available, taken.reason) == (False, "AlreadyExists")


def test_a_name_that_breaks_the_rules_is_refused_with_a_typed_error(subject, vaults, group_name):
    with pytest.raises(HttpResponseError) as caught:
        vaults.begin_create_or_update(group_name, "9--9", wanted(subject)).result()
    assert caught.value.status_code == 400
    assert caught.value.error.code and caught.value.error.message
