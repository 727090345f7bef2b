"""The subject as fixtures, and the endpoints and tokens that the curl suite asks for again and again."""

import json
import os
import pathlib
import urllib.parse

import pytest

import asking

TOKEN_PATH = "/metadata/identity/oauth2/token"


@pytest.fixture(scope="session")
def subject():
    return json.loads(pathlib.Path(os.environ["KEYCARD_SUBJECT"]).read_text())


class Metadata:
    """One virtual machine's metadata endpoint."""

    def __init__(self, base):
        self.base = base

    def ask(self, query="", *arguments, path=TOKEN_PATH, header="Metadata: true"):
        headers = ("--header", header) if header else ()
        return asking.curl(f"{self.base}{path}{query}", *headers, *arguments)

    def token(self, resource="https://vault.azure.net", api_version="2018-02-01", **more):
        query = urllib.parse.urlencode({"api-version": api_version, "resource": resource, **more})
        return self.ask(f"?{query}")


@pytest.fixture(scope="session")
def machines(subject):
    """Metadata endpoints by the machine's name; subject["imds"] has one with each way of having identities."""
    return {name: Metadata(base) for name, base in subject["imds"].items()}


@pytest.fixture(scope="session")
def metadata(machines):
    """The endpoint of the machine with a system-assigned and one user-assigned identity."""
    return machines["vm-both"]


@pytest.fixture(scope="session")
def token_url(subject):
    return f"{subject['authority']}/{subject['tenantId']}/oauth2/v2.0/token"


@pytest.fixture(scope="session")
def administrator_token(subject, token_url):
    """The administrator's token for an audience."""

    def acquire(audience):
        form = {
            "grant_type": "client_credentials",
            "client_id": subject["administrator"]["clientId"],
            "client_secret": subject["administrator"]["clientSecret"],
            "scope": f"{audience}/.default",
        }
        answer = asking.curl(token_url, "--data", urllib.parse.urlencode(form))
        assert answer.status == 200, answer
        return answer.json()["access_token"]

    return acquire


@pytest.fixture(scope="session")
def officer(administrator_token):
    """A token of the Secrets Officer of the granted vault."""
    return administrator_token("https://vault.azure.net")
