"""What `az cloud register` and `az cloud set` read before anybody has logged in. Source: specs/az-cli-calls.md, 1.1.

Microsoft Learn, "Azure CLI: cloud management"; the shape is Resource Manager's `metadata/endpoints`, 2022-09-01.
"""

import pytest

import asking


@pytest.fixture(scope="module")
def endpoints(subject):
    answer = asking.curl(f"{subject['resourceManager']}/metadata/endpoints?api-version=2022-09-01")
    assert answer.status == 200
    return answer.json()


def test_a_cloud_describes_itself_to_strangers(subject, endpoints):
    assert endpoints["name"]
    assert endpoints["resourceManager"].rstrip("/") == subject["resourceManager"]
    assert endpoints["authentication"]["loginEndpoint"] == subject["authority"]
    assert endpoints["authentication"]["audiences"][0]
    assert not endpoints["authentication"]["audiences"][0].endswith("/")
    assert endpoints["graphAudience"] and endpoints["microsoftGraphResourceId"]


def test_the_vault_suffix_is_the_vaults_own(subject, endpoints):
    suffix = endpoints["suffixes"]["keyVaultDns"]
    vault = subject["vaults"]["granted"]
    assert vault["url"] == f"https://{vault['name']}.{suffix.lstrip('.')}"


def test_the_audience_it_names_gets_a_token_that_resource_manager_takes(subject, endpoints, administrator_token):
    token = administrator_token(endpoints["authentication"]["audiences"][0])
    answer = asking.curl(f"{subject['resourceManager']}/subscriptions?api-version=2022-12-01", *asking.bearer(token))
    assert answer.status == 200
    assert [item["subscriptionId"] for item in answer.json()["value"]] == [subject["subscriptionId"]]
