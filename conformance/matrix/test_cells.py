"""Every client at every source by every name of an identity: the token of that identity where it is attached; a refusal, at
once, where it is not attached and where the resource has no identity.

Source: Microsoft Learn, "How to use managed identities …" of each source; specs/token-endpoints.md, sections 1.2 and 2.
"""

import base64
import json
import time
import urllib.parse

import pytest

from support import ASKS, CLIENTS, REFUSES, SOURCES
from workloads import BOTH, NO_IDENTITY, USERS_ONLY

VAULT = "https://vault.azure.net"
# No client may take a refusal for a passing fault, and ask again and again.
REFUSAL_SECONDS_MAX = 5

MEMBERS = {"client_id": "clientId", "object_id": "principalId", "resource_id": "id"}


@pytest.fixture
def ask(programs, workloads, source, client, selector):
    """Asks as a program of the resource that has these identities, for the identity with this role in the story."""

    def asked(having, role):
        variables = workloads.variables_of(CLIENTS[client], SOURCES[source], having)
        return put_question(programs, source, client, named(workloads, selector, role), variables)

    return asked


def named(workloads, selector, role):
    return None if selector == "system" else [selector, workloads.subject["identities"][role][MEMBERS[selector]]]


def put_question(programs, source, client, selector, variables):
    return programs.ask(CLIENTS[client], variables, source=source, resource=VAULT, selector=selector)


@pytest.mark.cells(ASKS)
def test_an_attached_identity_gives_its_token(subject, workloads, ask, told, source, client, selector):
    answer = ask(BOTH, "attached")
    assert "token" in answer, answer
    claims = claims_of(answer["token"])
    resource = workloads.resource(SOURCES[source].resource_type, BOTH)
    meant = resource["identity"] if selector == "system" else subject["identities"]["attached"]
    assert (claims["oid"], claims["aud"]) == (meant["principalId"], VAULT)
    told.token(source, client, selector)


@pytest.mark.cells(ASKS)
def test_an_identity_that_is_not_attached_is_refused_at_once(ask, told, source, client, selector):
    having = USERS_ONLY if selector == "system" else BOTH
    told.not_attached(source, client, selector, refusal(ask, having, "other"))


@pytest.mark.cells(ASKS)
def test_a_resource_without_identity_is_refused_at_once(ask, told, source, client, selector):
    told.no_identity(source, client, selector, refusal(ask, NO_IDENTITY, "attached"))


@pytest.mark.cells(REFUSES)
def test_what_a_client_refuses_it_does_not_ask(workloads, programs, told, unasked, source, client, selector):
    variables = workloads.variables_of(CLIENTS[client], SOURCES[source], BOTH)
    variables = {name: elsewhere(value, unasked.authority) for name, value in variables.items()}
    answer = put_question(programs, source, client, named(workloads, selector, "attached"), variables)
    assert "refusal" in answer, "the client gave a token"
    assert unasked.connections == 0
    told.client_refuses(source, client, selector, answer["refusal"])


def refusal(ask, having, role):
    """By which name the client refuses; the words are the client's own."""
    begin = time.monotonic()
    answer = ask(having, role)
    assert "refusal" in answer, f"a token of {claims_of(answer['token'])['oid']}"
    assert time.monotonic() - begin < REFUSAL_SECONDS_MAX, answer
    return answer["refusal"]


def elsewhere(value, authority):
    """The URL at another address; what is no URL stays."""
    parts = urllib.parse.urlsplit(value)
    return parts._replace(netloc=authority).geturl() if parts.scheme == "http" else value


def claims_of(token):
    """What the token says; its signature is the matter of python/test_token_verification.py."""
    body = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
