"""Every client at every source by every name of an identity: the token of that identity where it is attached; a refusal, at
once, where it is not attached and where the resource has no identity.

Source: Microsoft Learn, "How to use managed identities …" of each source; specs/token-endpoints.md, sections 1.2 and 2.
"""

import base64
import json

import pytest

from answers import ATTACHED, ELSEWHERE, NOT_ATTACHED, VAULT, WITHOUT
from support import ASKS, IGNORES, REFUSES, SOURCES, refusal_seconds_max
from workloads import BOTH


@pytest.mark.cells(ASKS, ATTACHED)
def test_an_attached_identity_gives_its_token(subject, workloads, answers, told, source, client, selector):
    claims = claims_of(answers(ATTACHED, source, client, selector))
    meant = own_identity(workloads, source) if selector == "system" else subject["identities"]["attached"]
    assert (claims["oid"], claims["aud"]) == (meant["principalId"], VAULT)
    told.token(source, client, selector)


@pytest.mark.cells(ASKS, NOT_ATTACHED)
def test_an_identity_that_is_not_attached_is_refused_at_once(answers, told, source, client, selector):
    name = refusal(answers(NOT_ATTACHED, source, client, selector), refusal_seconds_max(source, client))
    told.not_attached(source, client, selector, name)


@pytest.mark.cells(ASKS, WITHOUT)
def test_a_resource_without_identity_is_refused_at_once(answers, told, source, client, selector):
    name = refusal(answers(WITHOUT, source, client, selector), refusal_seconds_max(source, client))
    told.no_identity(source, client, selector, name)


@pytest.mark.cells(IGNORES, ATTACHED)
def test_a_name_that_a_client_ignores_changes_nothing(workloads, answers, told, source, client, selector):
    claims = claims_of(answers(ATTACHED, source, client, selector))
    assert claims["oid"] == own_identity(workloads, source)["principalId"]
    told.ignored(source, client, selector)


@pytest.mark.cells(REFUSES, ELSEWHERE)
def test_what_a_client_refuses_it_does_not_ask(answers, told, source, client, selector):
    answer = answers(ELSEWHERE, source, client, selector)
    name = refusal(answer, refusal_seconds_max(source, client))
    assert answer.connections == 0
    told.client_refuses(source, client, selector, name)


def own_identity(workloads, source):
    return workloads.resource(SOURCES[source].resource_type, BOTH)["identity"]


def refusal(answer, seconds_max):
    """By which name the client refuses."""
    assert "refusal" in answer.told, f"a token of {claims_of(answer)['oid']}"
    assert answer.seconds < seconds_max, answer
    return answer.told["refusal"]


def claims_of(answer):
    """What the token says; its signature is the matter of python/test_token_verification.py."""
    assert "token" in answer.told, answer
    body = answer.told["token"].split(".")[1]
    return json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
