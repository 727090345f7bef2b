"""The subject as fixtures: where it is, whose endpoint this process asks, and how its names resolve here."""

import json
import os
import pathlib
import socket

import pytest

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
