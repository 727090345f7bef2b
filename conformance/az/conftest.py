"""az in the administrator's hands and in those of others, and resource groups for what tests make."""

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


@pytest.fixture(scope="session")
def new_az(subject, tmp_path_factory):
    """Makes profiles in which nobody has signed in yet; more variables may be given."""
    made = []

    def make(**variables):
        made.append(Az(subject, tmp_path_factory.mktemp("az"), variables))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture(scope="session")
def az(subject, new_az):
    """The administrator's."""
    az = new_az()
    administrator = subject["administrator"]
    az.login(*as_application(subject, administrator["clientId"], administrator["clientSecret"]))
    return az


@pytest.fixture(scope="session")
def az_of(subject, new_az):
    """Signs in with an application's secret."""

    def sign_in(client_id, secret, *more):
        az = new_az()
        az.login(*as_application(subject, client_id, secret), *more)
        return az

    return sign_in


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
def reader(az, az_of, group_id, new_name):
    """Signed in as an application that may read the file's group, and nothing else."""
    made = az("ad", "sp", "create-for-rbac", "-n", new_name("reader"), "--role", "Reader", "--scopes", group_id)
    return az_of(made["appId"], made["password"])


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
