"""az in the administrator's hands and in those of others, and resource groups for what tests make."""

import contextlib
import itertools
import json
import os
import pathlib
import uuid

import pytest

from azure_cli import Az, as_application


@pytest.fixture(scope="session")
def subject():
    return json.loads(pathlib.Path(os.environ["KEYCARD_SUBJECT"]).read_text())


@contextlib.contextmanager
def profiles(subject, tmp_path_factory):
    """Makes profiles in which nobody has signed in yet; more variables may be given. They end with the block."""
    with contextlib.ExitStack() as made:

        def make(**variables):
            return made.enter_context(contextlib.closing(Az(subject, tmp_path_factory.mktemp("az"), variables)))

        yield make


def signed_in(az, client_id, secret):
    az.login(*as_application(az.subject, client_id, secret))
    return az


@pytest.fixture
def new_az(subject, tmp_path_factory):
    with profiles(subject, tmp_path_factory) as make:
        yield make


@pytest.fixture(scope="session")
def az(subject, tmp_path_factory):
    """The administrator's."""
    administrator = subject["administrator"]
    with profiles(subject, tmp_path_factory) as make:
        yield signed_in(make(), administrator["clientId"], administrator["clientSecret"])


@pytest.fixture
def az_of(new_az):
    """Signs in with an application's secret."""
    return lambda client_id, secret: signed_in(new_az(), client_id, secret)


@pytest.fixture(scope="module")
def group(az, new_name):
    """The name of a resource group for the tests of one file."""
    name = new_name("group")
    az("group", "create", "-n", name, "-l", "eastus")
    yield name
    az("group", "delete", "-n", name, "-y")


@pytest.fixture(scope="module")
def group_id(subscription, group):
    return f"{subscription}/resourceGroups/{group}"


@pytest.fixture(scope="module")
def reader(az, subject, tmp_path_factory, group_id, new_name):
    """Signed in as an application that may read the file's group, and nothing else."""
    made = az("ad", "sp", "create-for-rbac", "-n", new_name("reader"), "--role", "Reader", "--scopes", group_id)
    with profiles(subject, tmp_path_factory) as make:
        yield signed_in(make(), made["appId"], made["password"])


@pytest.fixture(scope="session")
def subscription(subject):
    return f"/subscriptions/{subject['subscriptionId']}"


@pytest.fixture(scope="session")
def new_name():
    """Names that nothing else has."""
    numbers, own = itertools.count(1), uuid.uuid4().hex[:6]
    return lambda kind: f"{kind}-{own}-{next(numbers)}"


@pytest.fixture(scope="session")
def new_vault_name(subject):
    """Names for vaults whose secrets are asked for: the host name has to lead somewhere."""
    names = iter(subject["freeVaultNames"])
    return lambda: next(names)
