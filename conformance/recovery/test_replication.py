"""A role for a principal that the directory does not show yet: what the management clients make of it. None of them asks again
by itself.

Source: Microsoft Learn, "Troubleshoot Azure RBAC", on `PrincipalNotFound`; specs/azure-semantics.md, section 12.
"""

import contextlib
import time
import uuid

import pytest
from azure.core.exceptions import HttpResponseError
from azure.identity import ClientSecretCredential
from azure.mgmt.authorization.models import RoleAssignmentCreateParameters

import administration
from azure_cli import Az, as_application
from trials import keycard
from workloads import Workloads

DELAY_SECONDS = 120
AT_ONCE_SECONDS_MAX = 5
SERVICE_PRINCIPAL = "ServicePrincipal"


@pytest.fixture(scope="module")
def administrator(subject):
    return Workloads(subject).administrator


@pytest.fixture
def principal(subject, administrator):
    """Of an identity that was just made, in a directory that shows it after two minutes of its clock."""
    group = subject["resourceGroup"]
    keycard(subject, "fault", "set", "replication-delay", "--delay", f"{DELAY_SECONDS}s", "--on", group)
    kind = "Microsoft.ManagedIdentity/userAssignedIdentities"
    try:
        made = administrator.put_resource(kind, f"just-made-{uuid.uuid4().hex[:8]}", {})
        yield made["properties"]["principalId"]
    finally:
        keycard(subject, "fault", "clear", "--on", group)


@pytest.fixture(scope="module")
def sdk(subject):
    of_administrator = subject["administrator"]
    credential = ClientSecretCredential(
        subject["tenantId"],
        of_administrator["clientId"],
        of_administrator["clientSecret"],
        authority=subject["authority"],
        disable_instance_discovery=True,
    )
    with administration.client(subject, credential) as client:
        yield client


@pytest.fixture(scope="module")
def az(subject, tmp_path_factory):
    of_administrator = subject["administrator"]
    with contextlib.closing(Az(subject, tmp_path_factory.mktemp("az"))) as az:
        az.login(*as_application(subject, of_administrator["clientId"], of_administrator["clientSecret"]))
        az("role", "definition", "list", "--name", "Reader")  # so that no start of az is measured
        yield az


def test_the_python_client_is_told_until_the_delay_is_over_or_it_says_what_the_principal_is(subject, sdk, principal):
    def give(kind=None):
        definitions = f"/subscriptions/{subject['subscriptionId']}/{administration.DEFINITIONS}"
        parameters = RoleAssignmentCreateParameters(
            role_definition_id=f"{definitions}/{administration.READER}", principal_id=principal, principal_type=kind
        )
        return sdk.role_assignments.create(subject["resourceGroup"], str(uuid.uuid4()), parameters)

    begin = time.monotonic()
    with pytest.raises(HttpResponseError) as refused:
        give()
    assert (refused.value.status_code, refused.value.error.code) == (400, "PrincipalNotFound")
    assert time.monotonic() - begin < AT_ONCE_SECONDS_MAX
    made = give(SERVICE_PRINCIPAL)
    sdk.role_assignments.delete_by_id(made.id)
    keycard(subject, "clock", "advance", f"{DELAY_SECONDS}s")
    assert give().principal_id == principal


def give(subject, principal, named, *more):
    """The words of a role assignment."""
    scope = subject["resourceGroup"]
    return ("role", "assignment", "create", "--role", "Reader", "--scope", scope, named, principal, *more)


@pytest.mark.parametrize(
    ("named", "words"), [("--assignee-object-id", "(PrincipalNotFound)"), ("--assignee", "Cannot find")]
)
def test_az_is_told_until_the_delay_is_over(subject, az, principal, named, words):
    begin = time.monotonic()
    assert words in az.fails(*give(subject, principal, named)).words
    assert time.monotonic() - begin < AT_ONCE_SECONDS_MAX
    keycard(subject, "clock", "advance", f"{DELAY_SECONDS}s")
    assert az(*give(subject, principal, named))["principalId"] == principal


def test_az_need_not_wait_where_it_says_what_the_principal_is(subject, az, principal):
    kind = ("--assignee-principal-type", SERVICE_PRINCIPAL)
    assert az(*give(subject, principal, "--assignee-object-id", *kind))["principalId"] == principal
