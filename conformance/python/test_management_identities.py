"""azure-mgmt-msi: user-assigned identities, their federated credentials, who uses them.

Source: specs/az-cli-calls.md, section 6; Microsoft Learn, "Managed Identity" (REST, 2024-11-30).
"""

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.mgmt.msi import ManagedServiceIdentityClient
from azure.mgmt.msi.models import FederatedIdentityCredential, Identity, IdentityUpdate

from administration import said

AUDIENCE = "api://AzureADTokenExchange"


@pytest.fixture
def msi(management):
    return management(ManagedServiceIdentityClient)


@pytest.fixture
def identity(msi, group_name):
    return msi.user_assigned_identities.create_or_update(group_name, "one", Identity(location="eastus"))


def test_an_identity_is_made_changed_listed_and_deleted(subject, msi, group_name):
    identities = msi.user_assigned_identities
    made = identities.create_or_update(group_name, "one", Identity(location="eastus", tags={"a": "1"}))
    assert (made.name, made.type) == ("one", "Microsoft.ManagedIdentity/userAssignedIdentities")
    assert made.tenant_id == subject["tenantId"]
    assert made.principal_id and made.client_id and made.principal_id != made.client_id
    assert identities.get(group_name, "one").as_dict() == made.as_dict()
    changed = identities.update(group_name, "one", IdentityUpdate(tags={"b": "2"}))
    assert (changed.tags, changed.client_id) == ({"b": "2"}, made.client_id)
    identities.create_or_update(group_name, "two", Identity(location="eastus"))
    assert {each.name for each in identities.list_by_resource_group(group_name)} == {"one", "two"}
    assert made.id in {each.id for each in identities.list_by_subscription()}
    identities.delete(group_name, "one")
    identities.delete(group_name, "one")
    with pytest.raises(ResourceNotFoundError) as caught:
        identities.get(group_name, "one")
    assert said(caught.value)[0] == "ResourceNotFound"


def test_federated_credentials_are_made_paged_and_deleted(msi, group_name, identity):
    credentials = msi.federated_identity_credentials
    for number in range(5):
        wanted = FederatedIdentityCredential(
            issuer="https://issuer.example", subject=f"subject-{number}", audiences=[AUDIENCE]
        )
        made = credentials.create_or_update(group_name, identity.name, f"credential-{number}", wanted)
        assert (made.subject, made.audiences) == (wanted.subject, [AUDIENCE])
    pages = [list(page) for page in credentials.list(group_name, identity.name, top=2).by_page()]
    assert all(len(page) <= 2 for page in pages)
    assert [each.name for page in pages for each in page] == [f"credential-{number}" for number in range(5)]
    credentials.delete(group_name, identity.name, "credential-0")
    with pytest.raises(ResourceNotFoundError):
        credentials.get(group_name, identity.name, "credential-0")


def test_a_broken_credential_is_refused_with_a_typed_error(msi, group_name, identity):
    wanted = FederatedIdentityCredential(issuer="https://issuer.example", subject="s", audiences=[])
    with pytest.raises(HttpResponseError) as caught:
        msi.federated_identity_credentials.create_or_update(group_name, identity.name, "broken", wanted)
    assert caught.value.status_code == 400
    assert caught.value.error.code and caught.value.error.message


def test_a_resources_own_identity_is_asked_for_by_its_scope(subject, msi):
    own = msi.system_assigned_identities.get_by_scope(subject["vm"]["id"])
    assert (own.name, own.principal_id, own.tenant_id) == ("default", subject["vm"]["principalId"], subject["tenantId"])
    with pytest.raises(ResourceNotFoundError):
        msi.system_assigned_identities.get_by_scope(subject["workloadsVm"]["id"])


def test_the_users_of_an_identity_are_listed(subject, management):
    """Only the version of 2022-01-31-preview has this call."""
    old = management(ManagedServiceIdentityClient, api_version="2022-01-31-preview").user_assigned_identities
    *_, group_name = subject["resourceGroup"].split("/")
    name = subject["identities"]["attached"]["id"].rsplit("/", 1)[1]
    users = {each.id.lower() for each in old.list_associated_resources(group_name, name)}
    assert {subject["vm"]["id"].lower(), subject["site"]["id"].lower()} <= users
    pages = [list(page) for page in old.list_associated_resources(group_name, name, top=1).by_page()]
    assert {each.id.lower() for page in pages for each in page} >= users or len(pages) == 1


def test_the_operations_of_the_provider_are_listed(msi):
    names = {each.name for each in msi.operations.list()}
    assert "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action" in names
