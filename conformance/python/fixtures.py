"""The subject as fixtures: where it is, whose endpoint this process asks, how its names resolve here, who administers it."""

import contextlib
import json
import os
import pathlib
import socket
import uuid

import pytest
from azure.identity import ClientSecretCredential
from azure.keyvault.secrets import SecretClient

import administration
import commands

METADATA_ADDRESS = "169.254.169.254"


@pytest.fixture(scope="session")
def subject():
    return json.loads(pathlib.Path(os.environ["KEYCARD_SUBJECT"]).read_text())


@pytest.fixture(scope="session", autouse=True)
def names_resolve(subject):
    """Plain glibc does not resolve names below `localhost`; and the real metadata address is never asked by mistake."""
    original_lookup, original_connect = socket.getaddrinfo, socket.socket.connect
    suffixes = tuple(f".{suffix}" for suffix in subject["loopbackSuffixes"])

    def lookup(host, *arguments, **options):
        name = host.decode() if isinstance(host, bytes) else host
        return original_lookup("127.0.0.1" if name and name.endswith(suffixes) else host, *arguments, **options)

    def connect(self, address):
        if not subject["unmodified"] and address[0] == METADATA_ADDRESS:
            raise AssertionError("a client asked the metadata address outside a namespace of our own")
        return original_connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", lookup)
        patch.setattr(socket.socket, "connect", connect)
        yield


@pytest.fixture
def vm(subject, monkeypatch):
    """This process is a workload on the virtual machine."""
    return become(subject, "vm", monkeypatch)


@pytest.fixture
def site(subject, monkeypatch):
    """This process is a workload of the App Service site."""
    return become(subject, "site", monkeypatch)


def become(subject, role, monkeypatch):
    """Sets what `keycard env` prints for that resource, and nothing of the other one."""
    for name in {**subject["vm"]["variables"], **subject["site"]["variables"]}:
        monkeypatch.delenv(name, raising=False)
    for name, value in {**subject["trust"], **subject[role]["variables"]}.items():
        monkeypatch.setenv(name, value)
    return subject[role]


@pytest.fixture(scope="session")
def administrator(subject):
    """The administrator's credential, as an application's."""
    known = subject["administrator"]
    with ClientSecretCredential(
        subject["tenantId"],
        known["clientId"],
        known["clientSecret"],
        authority=subject["authority"],
        disable_instance_discovery=True,
    ) as credential:
        yield credential


@pytest.fixture(scope="session")
def authorization(subject, administrator):
    """The vendor's client for roles, in the administrator's hands."""
    with administration.client(subject, administrator) as client:
        yield client


@pytest.fixture(scope="module")
def management(subject, administrator):
    """Makes the vendor's management clients, in the administrator's hands."""
    with contextlib.ExitStack() as clients:
        yield lambda kind, **more: clients.enter_context(administration.client(subject, administrator, kind, **more))


@pytest.fixture
def group_name(group):
    return group.rsplit("/", 1)[1]


@pytest.fixture(scope="session")
def arm(subject, administrator):
    """Resource Manager by plain requests of the administrator."""
    manager = administration.ResourceManager(subject, administrator)
    yield manager
    manager.close()


@pytest.fixture
def group(subject, arm):
    """The id of a resource group of the test's own; it goes with all that it holds."""
    path = f"/subscriptions/{subject['subscriptionId']}/resourceGroups/group-{uuid.uuid4().hex[:12]}"
    yield arm.must("PUT", path, {"location": "eastus"})["id"]
    arm.must("DELETE", path)


@pytest.fixture
def workload(subject, arm, monkeypatch):
    """Makes workloads: each call one more, with an identity that nobody knows yet."""
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", subject["imds"][subject["workloadsVm"]["name"]])
    for name in ("IDENTITY_ENDPOINT", "IDENTITY_HEADER"):
        monkeypatch.delenv(name, raising=False)
    machine, made = subject["workloadsVm"]["id"], []

    def make():
        path = f"{subject['resourceGroup']}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/w-{uuid.uuid4()}"
        identity = arm.must("PUT", path, {"location": "eastus"})
        attach(identity["id"], {})
        made.append(administration.Workload(subject, identity))
        return made[-1]

    def attach(identity, value):
        block = {"type": "UserAssigned", "userAssignedIdentities": {identity: value}}
        arm.must("PATCH", machine, {"identity": block})

    yield make
    for each in made:
        each.close()
        arm.must("PATCH", machine, {"identity": {"type": "UserAssigned", "userAssignedIdentities": {each.id: None}}})
        arm.must("DELETE", each.id)


@pytest.fixture
def secret(subject, administrator):
    """Sets secrets in the granted vault; the value is the name backwards."""
    with SecretClient(subject["vaults"]["granted"]["url"], administrator) as client:

        def put(name):
            return client.set_secret(name, name[::-1]).name

        yield put


@pytest.fixture(scope="session")
def keycard(subject):
    """keycard's own commands; another subject has none."""
    if "command" not in subject:
        pytest.skip("the subject has no commands of keycard's")
    return commands.Keycard(subject["command"])
