"""A Secrets Officer keeps secrets through the vendor's client: first write, versions, lists, update, delete, recover, purge.

Source: Microsoft Learn, "Azure Key Vault secrets client library for Python".
"""

import asyncio
import itertools
import uuid

import azure.identity.aio
import azure.keyvault.secrets.aio
import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.identity import ClientSecretCredential
from azure.keyvault.secrets import SecretClient
from azure.keyvault.secrets._shared import http_challenge_cache


def credential_arguments(subject):
    administrator = subject["administrator"]
    return (subject["tenantId"], administrator["clientId"], administrator["clientSecret"])


@pytest.fixture
def secrets(subject):
    credential = ClientSecretCredential(
        *credential_arguments(subject), authority=subject["authority"], disable_instance_discovery=True
    )
    with SecretClient(subject["vaults"]["granted"]["url"], credential) as client:
        yield client


@pytest.fixture
def name():
    return f"secret-{uuid.uuid4()}"


@pytest.fixture
def fresh_process():
    """Challenges are remembered per process; without them the next request is the first one again, sent without a body."""
    http_challenge_cache.clear()


def test_a_first_write_keeps_its_body(fresh_process, secrets, name):
    kept = secrets.set_secret(name, "first", content_type="text/plain", tags={"team": "conformance"})
    assert (kept.value, kept.properties.content_type) == ("first", "text/plain")
    assert kept.properties.tags == {"team": "conformance"}
    assert secrets.get_secret(name).value == "first"


def test_a_first_write_keeps_its_body_on_aiohttp(fresh_process, subject, name):
    async def write_and_read():
        credential = azure.identity.aio.ClientSecretCredential(
            *credential_arguments(subject), authority=subject["authority"], disable_instance_discovery=True
        )
        vault = subject["vaults"]["granted"]["url"]
        async with credential, azure.keyvault.secrets.aio.SecretClient(vault, credential) as client:
            await client.set_secret(name, "first")
            return (await client.get_secret(name)).value

    assert asyncio.run(write_and_read()) == "first"


def test_an_id_names_the_host_that_was_asked(subject, secrets, name):
    kept = secrets.set_secret(name, "value")
    assert kept.id == f"{subject['vaults']['granted']['url']}/secrets/{name}/{kept.properties.version}"


def test_every_version_stays_readable(secrets, name):
    versions = [secrets.set_secret(name, value).properties.version for value in ("one", "two")]
    assert secrets.get_secret(name).value == "two"
    assert [secrets.get_secret(name, version).value for version in versions] == ["one", "two"]
    listed = {properties.version for properties in secrets.list_properties_of_secret_versions(name)}
    assert listed == set(versions)


def test_a_list_names_each_secret_once_and_shows_no_version(secrets, name):
    wanted = {f"{name}-{number}" for number in range(3)}
    for each in wanted:
        secrets.set_secret(each, "value")
    listed = [properties for properties in secrets.list_properties_of_secrets() if properties.name in wanted]
    assert sorted(properties.name for properties in listed) == sorted(wanted)
    assert {properties.version for properties in listed} == {None}


def test_pages_are_no_larger_than_asked_and_lose_nothing(secrets, name):
    wanted = {f"{name}-{number}" for number in range(5)}
    for each in wanted:
        secrets.set_secret(each, "value")
    pages = [list(page) for page in secrets.list_properties_of_secrets(max_page_size=2).by_page()]
    names = [properties.name for properties in itertools.chain(*pages)]
    assert max(map(len, pages)) <= 2
    assert len(names) == len(set(names))
    assert wanted <= set(names)


def test_an_update_leaves_the_value(secrets, name):
    kept = secrets.set_secret(name, "value")
    updated = secrets.update_secret_properties(name, kept.properties.version, content_type="text/html", tags={"k": "v"})
    assert (updated.content_type, updated.tags, updated.version) == ("text/html", {"k": "v"}, kept.properties.version)
    assert secrets.get_secret(name).value == "value"


def test_a_disabled_secret_is_refused_until_it_is_enabled(secrets, name):
    version = secrets.set_secret(name, "value").properties.version
    secrets.update_secret_properties(name, version, enabled=False)
    with pytest.raises(HttpResponseError) as refusal:
        secrets.get_secret(name)
    assert refusal.value.status_code == 403
    assert refusal.value.response.json()["error"]["innererror"]["code"] == "SecretDisabled"
    secrets.update_secret_properties(name, version, enabled=True)
    assert secrets.get_secret(name).value == "value"


def test_a_missing_secret_is_not_found(secrets, name):
    with pytest.raises(ResourceNotFoundError) as refusal:
        secrets.get_secret(name)
    assert refusal.value.response.json()["error"]["code"] == "SecretNotFound"


def test_a_deleted_secret_comes_back_whole(secrets, name):
    secrets.set_secret(name, "one")
    secrets.set_secret(name, "two")
    deleted = secrets.begin_delete_secret(name, _polling_interval=0.1).result()
    assert deleted.recovery_id and deleted.scheduled_purge_date > deleted.deleted_date
    with pytest.raises(ResourceNotFoundError):
        secrets.get_secret(name)
    assert name in {secret.name for secret in secrets.list_deleted_secrets()}
    secrets.begin_recover_deleted_secret(name, _polling_interval=0.1).result()
    assert secrets.get_secret(name).value == "two"
    assert len(list(secrets.list_properties_of_secret_versions(name))) == 2


def test_a_deleted_secret_holds_its_name_until_purged(secrets, name):
    secrets.set_secret(name, "one")
    secrets.begin_delete_secret(name, _polling_interval=0.1).result()
    with pytest.raises(HttpResponseError) as refusal:
        secrets.set_secret(name, "two")
    assert refusal.value.status_code == 409
    assert refusal.value.response.json()["error"]["innererror"]["code"] == "ObjectIsDeletedButRecoverable"
    secrets.purge_deleted_secret(name)
    with pytest.raises(ResourceNotFoundError):
        secrets.get_deleted_secret(name)
    assert secrets.set_secret(name, "two").value == "two"
