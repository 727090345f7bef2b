"""Tokens bound to a key, by msal-msiv2. Numbers: specs/token-endpoints.md, section 9, IMDSv2."""

import base64
import json
import time

import msal
import pytest
from msal import msi_v2

VAULT = "https://vault.azure.net"
TRUSTED, TRUSTED_NONE, PLAIN = "vm-trusted", "vm-trusted-none", "vm-both"
# How long a client may be kept that asks a machine without.
REFUSAL_SECONDS_MAX = 5


def claims(token):
    segment = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))


def test_a_token_is_bound_to_the_certificate_that_comes_with_it(subject, acquire):
    """63 to 66: the package's own certificate request is signed, and its own check of the binding passes."""
    result = acquire(TRUSTED, VAULT)
    assert "access_token" in result, result
    assert result["token_type"] == "mtls_pop"
    assert msi_v2.verify_cnf_binding(result["access_token"], result["cert_pem"])
    found = claims(result["access_token"])
    assert (found["aud"], found["tid"]) == (VAULT, subject["tenantId"])
    assert found["cnf"]["x5t#S256"] == result["cert_thumbprint_sha256"]


@pytest.mark.parametrize("kind", ["client_id", "object_id", "resource_id"])
def test_each_selector_means_that_user_assigned_identity(subject, acquire, kind):
    """67."""
    identity = subject["identities"]["attached"]
    value = {"client_id": "clientId", "object_id": "principalId", "resource_id": "id"}[kind]
    # A plain dict: of its own class, which is none, 1.35.0rc3 sends no selector.
    result = acquire(TRUSTED, VAULT, dict(msal.UserAssignedManagedIdentity(**{kind: identity[value]})))
    assert claims(result["access_token"])["oid"] == identity["principalId"]


@pytest.mark.parametrize("kind", ["client_id", "object_id", "resource_id"])
def test_an_identity_that_is_not_attached_is_refused(subject, acquire, kind):
    value = {"client_id": "clientId", "object_id": "principalId", "resource_id": "id"}[kind]
    wanted = msal.UserAssignedManagedIdentity(**{kind: subject["identities"]["other"][value]})
    with pytest.raises(msal.MsiV2Error, match="Identity not found"):
        acquire(TRUSTED, VAULT, dict(wanted))


def test_a_machine_without_identity_is_refused(acquire):
    with pytest.raises(msal.MsiV2Error, match="Identity not found"):
        acquire(TRUSTED_NONE, VAULT)


def test_a_machine_without_is_told_apart_at_once(acquire):
    """63."""
    begin = time.monotonic()
    with pytest.raises(msal.MsiV2Error, match="HTTP 404"):
        acquire(PLAIN, VAULT)
    assert time.monotonic() - begin < REFUSAL_SECONDS_MAX


def test_a_vault_takes_the_token_with_its_certificate_only(subject, acquire, windows):
    result = acquire(TRUSTED, VAULT)
    url = f"{subject['vaults']['granted']['url']}/secrets?api-version=7.4"
    certificate = base64.b64decode(result["cert_der_b64"])
    header = {"Authorization": f"mtls_pop {result['access_token']}"}
    # The identity may not list; but that is said only to who is let in.
    assert windows.ask("GET", url, certificate, headers=header).status == 403
    for scheme in ("mtls_pop", "Bearer"):
        refused = windows.ask("GET", url, None, headers={"Authorization": f"{scheme} {result['access_token']}"})
        assert refused.status == 401
        assert "bound to a certificate" in json.loads(refused.read())["error"]["message"]
