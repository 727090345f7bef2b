"""Conditions of role assignments: on a secret's name, and on which roles may be given on.

Source: Microsoft Learn, "Azure role assignment condition format and syntax", "Authorization actions and attributes",
"Delegate Azure access management with conditions"; specs/azure-semantics.md, 3.6.
"""

import uuid

import pytest

from administration import (
    ASSIGNMENTS,
    CONTRIBUTOR,
    KEY_VAULT_READER,
    RBAC_ADMINISTRATOR,
    SECRETS_USER,
    answered,
    assign,
    not_authorized,
    refused,
    role_id,
)

VERSION = "2.0"
WRITE, DELETE = (f"Microsoft.Authorization/roleAssignments/{verb}" for verb in ("write", "delete"))
LISTED_ROLES = ", ".join((SECRETS_USER, KEY_VAULT_READER))

# As the portal writes it: "Allow user to only assign selected roles".
DELEGATION = f"""
(
 (
  !(ActionMatches{{'{WRITE}'}})
 )
 OR
 (
  @Request[Microsoft.Authorization/roleAssignments:RoleDefinitionId] ForAnyOfAnyValues:GuidEquals {{{LISTED_ROLES}}}
 )
)
AND
(
 (
  !(ActionMatches{{'{DELETE}'}})
 )
 OR
 (
  @Resource[Microsoft.Authorization/roleAssignments:RoleDefinitionId] ForAnyOfAnyValues:GuidEquals {{{LISTED_ROLES}}}
 )
)
"""


@pytest.fixture
def names(secret):
    """A secret and its neighbour."""
    wanted = f"db-{uuid.uuid4()}"
    return secret(wanted), secret(f"{wanted}-neighbour")


@pytest.fixture
def reader(subject, arm, workload):
    """Makes a workload that may read secrets of the granted vault under a condition."""

    def make(condition):
        someone = workload()
        vault = subject["vaults"]["granted"]["id"]
        given = assign(subject, arm, SECRETS_USER, someone.principal_id, vault, condition=condition, conditionVersion=VERSION)
        assert (given["properties"]["condition"], given["properties"]["conditionVersion"]) == (condition, VERSION)
        return someone

    return make


NAME = "@Resource[Microsoft.KeyVault/vaults/secrets:name]"
GET = "Microsoft.KeyVault/vaults/secrets/getSecret/action"

EXACTLY_ONE = {
    "plain": f"{NAME} StringEquals '{{name}}'",
    "for reading": f"((!(ActionMatches{{{{'{GET}'}}}})) OR ({NAME} StringEquals '{{name}}'))",
    "in any case": f"{NAME} StringEqualsIgnoreCase '{{upper}}'",
    "one of": f"{NAME} ForAnyOfAnyValues:StringEquals {{{{'{{name}}', 'other'}}}}",
    "by request": "@Request[Microsoft.KeyVault/vaults/secrets:name] StringEquals '{name}'",
    "not the neighbour": f"{NAME} StringNotLike '*-neighbour'",
    "and the vault": f"{NAME} StringEquals '{{name}}' AND @Resource[Microsoft.KeyVault/vaults:name] StringLike '*-granted'",
    "since long": f"{NAME} StringEquals '{{name}}' AND @Environment[UtcNow] DateTimeGreaterThan '2020-01-01T00:00:00.0Z'",
}


@pytest.mark.parametrize("condition", EXACTLY_ONE.values(), ids=EXACTLY_ONE.keys())
def test_a_condition_on_its_name_opens_one_secret_and_not_its_neighbour(names, reader, condition):
    """50."""
    name, neighbour = names
    someone = reader(condition.format(name=name, upper=name.upper()))
    assert someone.read(name) == name[::-1]
    status, code, message = refused(someone.read, neighbour)
    assert (status, code) == (403, "Forbidden")
    assert "DecisionReason: 'DeniedWithABACEvaluationInRA'" in message


def test_a_listing_has_no_name_that_a_condition_could_be_about(names, reader):
    """Section 3.6: `readMetadata` with a condition on the name makes listing fail, unless it is about reading only."""
    name, _ = names
    plain, for_reading = (reader(EXACTLY_ONE[key].format(name=name)) for key in ("plain", "for reading"))
    with plain.secrets() as secrets:
        status, code, message = refused(lambda: list(secrets.list_properties_of_secrets()))
    assert (status, code) == (403, "Forbidden")
    assert "DecisionReason: 'DeniedWithMissingAttributesInRA'" in message
    with for_reading.secrets() as secrets:
        assert name in {each.name for each in secrets.list_properties_of_secrets()}


@pytest.mark.parametrize("operator", ["StringNotEquals", "StringStartsWith"])
def test_an_unmet_condition_opens_nothing(names, reader, operator):
    name, _ = names
    value = name if operator == "StringNotEquals" else "x"
    assert refused(reader(f"{NAME} {operator} '{value}'").read, name)[:2] == (403, "Forbidden")


def test_a_changed_condition_counts_at_the_next_request(arm, names, reader):
    name, neighbour = names
    someone = reader(f"{NAME} StringEquals '{name}'")
    token = someone.credential.get_token("https://vault.azure.net/.default").token
    (given,) = arm.must(
        "GET", f"{someone.subject['vaults']['granted']['id']}/{ASSIGNMENTS}", **{"$filter": f"principalId eq '{someone.principal_id}'"}
    )["value"]
    kept = {key: given["properties"][key] for key in ("roleDefinitionId", "principalId", "principalType")}
    changed = {**kept, "condition": f"{NAME} StringEquals '{neighbour}'", "conditionVersion": VERSION}
    arm.must("PUT", given["id"], {"properties": changed})
    assert someone.read(neighbour) == neighbour[::-1]
    assert refused(someone.read, name)[:2] == (403, "Forbidden")
    arm.must("PUT", given["id"], {"properties": kept})
    assert (someone.read(name), someone.read(neighbour)) == (name[::-1], neighbour[::-1])
    assert someone.credential.get_token("https://vault.azure.net/.default").token == token


@pytest.mark.parametrize(
    ("condition", "version"),
    [
        (f"{NAME} StringEquals 'a'", "1.0"),
        (f"{NAME} StringEquals 'a'", None),
        (f"{NAME} StringResembles 'a'", VERSION),
        (f"{NAME} StringEquals", VERSION),
        ("((", VERSION),
        ("@Colour[a:b] StringEquals 'a'", VERSION),
    ],
)
def test_a_condition_that_cannot_be_read_is_refused(subject, arm, group, workload, condition, version):
    """50."""
    given = {
        "roleDefinitionId": role_id(subject, SECRETS_USER),
        "principalId": workload().principal_id,
        "condition": condition,
        "conditionVersion": version,
    }
    status, _, message = answered(arm.ask("PUT", f"{group}/{ASSIGNMENTS}/{uuid.uuid4()}", {"properties": given}))
    assert (status, message) == (400, "The given role assignment condition is invalid.")


@pytest.fixture
def delegate(subject, arm, group, workload):
    """Gives two roles on and no other, in the test's group."""
    someone = workload()
    assign(subject, arm, RBAC_ADMINISTRATOR, someone.principal_id, group, condition=DELEGATION, conditionVersion=VERSION)
    return someone


def test_a_delegate_gives_and_takes_the_listed_roles(subject, delegate, group, workload):
    """51."""
    other = workload()
    for role in (SECRETS_USER, KEY_VAULT_READER):
        given = assign(subject, delegate.arm, role, other.principal_id, group)
        assert delegate.arm.ask("DELETE", given["id"]).status_code == 200


def test_a_delegate_gives_no_other_role_and_hears_of_the_condition(subject, delegate, group, workload):
    """51."""
    for role, principal_id in ((CONTRIBUTOR, workload().principal_id), (RBAC_ADMINISTRATOR, delegate.principal_id)):
        path = f"{group}/{ASSIGNMENTS}/{uuid.uuid4()}"
        given = {"roleDefinitionId": role_id(subject, role), "principalId": principal_id}
        refusal = answered(delegate.arm.ask("PUT", path, {"properties": given}))
        assert refusal == not_authorized(delegate, WRITE, path, conditioned=True)


def test_a_delegate_takes_no_other_role_away(subject, arm, delegate, group, workload):
    given = assign(subject, arm, CONTRIBUTOR, workload().principal_id, group)
    refusal = answered(delegate.arm.ask("DELETE", given["id"]))
    assert refusal == not_authorized(delegate, DELETE, given["id"], conditioned=True)


def test_a_delegate_does_not_turn_a_listed_role_into_another(subject, delegate, group, workload):
    """The role in the body counts, under whatever name and in whatever form."""
    other = workload()
    given = assign(subject, delegate.arm, SECRETS_USER, other.principal_id, group)
    for spelling in (role_id(subject, CONTRIBUTOR), CONTRIBUTOR, f"/{CONTRIBUTOR.upper()}"):
        changed = {"properties": {"roleDefinitionId": spelling, "principalId": other.principal_id}}
        assert delegate.arm.ask("PUT", given["id"], changed).status_code == 403
    assert delegate.arm.ask("GET", given["id"]).json()["properties"]["roleDefinitionId"] == role_id(subject, SECRETS_USER)
