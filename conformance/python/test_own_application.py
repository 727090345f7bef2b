"""An application of one's own as the audience, over Microsoft Graph, and verifiers elsewhere that know only what discovery says.

Source: Microsoft Graph REST API v1.0, "Create application"; OpenBao documentation, "JWT/OIDC auth method", `bound_audiences`,
`bound_claims` and `bound_claims_type`. Numbers: azure-semantics 34 and 35; data-planes section 6.
"""

import fnmatch
import json
import uuid

import jwt
import pytest
import requests

import clients
from test_token_verification import discovered

GRAPH = "https://graph.microsoft.com"
READ = "aaaaaaaa-0000-0000-0000-000000000001"


class Directory:
    """Requests to Microsoft Graph, as `az rest` sends them."""

    def __init__(self, subject, credential):
        self.base = f"{subject['graph']}/v1.0"
        self.token = credential.get_token(f"{GRAPH}/.default").token

    def must(self, method, path, body=None):
        headers = {"Authorization": f"Bearer {self.token}"}
        answer = requests.request(method, f"{self.base}{path}", json=body, headers=headers, timeout=20)
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None


@pytest.fixture(scope="module")
def directory(subject, administrator):
    return Directory(subject, administrator)


@pytest.fixture
def orders(directory):
    """An application that takes v2 tokens and defines a role, with its service principal."""
    uri = f"https://orders.example/{uuid.uuid4()}"
    role = {
        "id": READ,
        "value": "Orders.Read",
        "displayName": "Read orders",
        "description": "Reads orders",
        "isEnabled": True,
        "allowedMemberTypes": ["Application"],
    }
    application = directory.must(
        "POST",
        "/applications",
        {
            "displayName": "orders",
            "identifierUris": [uri],
            "appRoles": [role],
            "api": {"requestedAccessTokenVersion": 2},
        },
    )
    principal = directory.must("POST", "/servicePrincipals", {"appId": application["appId"]})
    yield {"uri": uri, "application": application, "principal": principal}
    directory.must("DELETE", f"/applications/{application['id']}")


def verified(token, audience):
    """What a verifier makes of a token that knows its issuer and audience."""
    issuer = clients.claims(token)["iss"]
    key = jwt.PyJWKClient(discovered(issuer)["jwks_uri"]).get_signing_key_from_jwt(token)
    return jwt.decode(token, key, algorithms=["RS256"], audience=audience, issuer=issuer)


@pytest.mark.parametrize("acquire", clients.ALL.values(), ids=clients.ALL)
def test_a_token_for_an_own_application_verifies_by_its_client_id(subject, vm, orders, acquire):
    claims = verified(acquire(orders["uri"], None, "imds"), orders["application"]["appId"])
    assert (claims["ver"], claims["oid"]) == ("2.0", vm["principalId"])
    assert claims["iss"].endswith(f"/{subject['tenantId']}/v2.0")
    assert "roles" not in claims


def test_a_role_stands_in_the_next_token(directory, vm, orders):
    """35"""
    principal = vm["principalId"]
    given = {"principalId": principal, "resourceId": orders["principal"]["id"], "appRoleId": READ}
    directory.must("POST", f"/servicePrincipals/{principal}/appRoleAssignments", given)
    # Asked for by another of its names, which no token is kept for yet.
    token = clients.sync(f"api://{orders['application']['appId']}", None, "imds")
    assert verified(token, orders["application"]["appId"])["roles"] == ["Orders.Read"]


def openbao_login(role, token):
    """The rule of OpenBao's `jwt` method: whose token it is, for whom, and whether each bound claim is as the role says."""
    claims = verified(token, role["bound_audiences"])
    assert claims["iss"] == role["bound_issuer"]
    match = fnmatch.fnmatchcase if role["bound_claims_type"] == "glob" else str.__eq__
    for name, allowed in role["bound_claims"].items():
        presented = claims.get(name)
        values = presented if isinstance(presented, list) else [presented]
        if not any(isinstance(value, str) and match(value, pattern) for value in values for pattern in allowed):
            raise PermissionError(f"claim {name!r} does not match any associated bound claim values")
    return claims[role["user_claim"]]


@pytest.mark.parametrize("kind", ["string", "glob"])
def test_openbaos_rule_for_the_identity_of_a_machine_holds(subject, vm, kind):
    """The role binds `xms_mirid`, the resource id of the machine; a neighbour's does not match."""
    token = clients.sync("https://vault.azure.net", None, "imds")
    claims = clients.claims(token)
    group = f"/subscriptions/{subject['subscriptionId']}/resourcegroups/"
    assert claims["xms_mirid"].startswith(group)
    bound = claims["xms_mirid"] if kind == "string" else f"{group}*/virtualMachines/*"
    role = {
        "role_type": "jwt",
        "bound_issuer": claims["iss"],
        "bound_audiences": ["https://vault.azure.net"],
        "bound_claims_type": kind,
        "bound_claims": {"xms_mirid": [bound]},
        "user_claim": "sub",
    }
    assert openbao_login(role, token) == vm["principalId"]
    for neighbour in [f"{bound}-2", f"{bound}/extensions/x", bound.upper()]:
        with pytest.raises(PermissionError):
            openbao_login({**role, "bound_claims": {"xms_mirid": [neighbour]}}, token)
    with pytest.raises(jwt.InvalidAudienceError):
        openbao_login({**role, "bound_audiences": ["bao"]}, token)


def test_a_policy_gives_verifiers_the_claim_they_need(directory, vm, orders):
    """MinIO reads `policy`, RabbitMQ `scope`: constants that a policy of the resource adds."""
    schema = [{"Value": "readwrite", "JwtClaimType": "policy"}, {"Value": "rabbitmq.read:*/*", "JwtClaimType": "scope"}]
    rule = {"ClaimsMappingPolicy": {"Version": 1, "IncludeBasicClaimSet": "true", "ClaimsSchema": schema}}
    policy = directory.must(
        "POST", "/policies/claimsMappingPolicies", {"displayName": "bus", "definition": [json.dumps(rule)]}
    )
    reference = {"@odata.id": f"{GRAPH}/v1.0/policies/claimsMappingPolicies/{policy['id']}"}
    directory.must("POST", f"/servicePrincipals/{orders['principal']['id']}/claimsMappingPolicies/$ref", reference)
    claims = verified(clients.sync(orders["uri"], None, "imds"), orders["application"]["appId"])
    assert (claims["policy"], claims["scope"]) == ("readwrite", "rabbitmq.read:*/*")
    directory.must("DELETE", f"/policies/claimsMappingPolicies/{policy['id']}")
