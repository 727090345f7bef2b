"""The subject, and a machine of it as msal-msiv2 finds it."""

import json
import os
import pathlib

import pytest

from windows import Windows


@pytest.fixture(scope="session")
def subject():
    return json.loads(pathlib.Path(os.environ["KEYCARD_SUBJECT"]).read_text())


@pytest.fixture
def windows(subject, monkeypatch):
    """Names below the loopback suffixes are this machine's, whatever the resolver says."""

    def connect(host, port):
        is_loopback = any(host == suffix or host.endswith(f".{suffix}") for suffix in subject["loopbackSuffixes"])
        return ("127.0.0.1" if is_loopback else host), port

    windows = Windows(subject["caFile"], connect)
    windows.replace(monkeypatch)
    return windows


@pytest.fixture
def acquire(subject, windows, monkeypatch):
    """A token by the package, as a machine of the subject, for the identity that is named."""
    import msal
    import requests

    def acquire(machine, resource, identity=None):
        monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", subject["imds"][machine])
        client = msal.ManagedIdentityClient(identity or msal.SystemAssignedManagedIdentity(), http_client=requests.Session())
        return client.acquire_token_for_client(
            resource=resource, mtls_proof_of_possession=True, with_attestation_support=True
        )

    return acquire
