"""az cloud: a cloud that is registered by the one address of its Resource Manager, or by all of them.

Source: specs/az-cli-calls.md, section 1.
"""

from azure_cli import as_application


def signed_in(subject, az):
    administrator = subject["administrator"]
    return az.login(*as_application(subject, administrator["clientId"], administrator["clientSecret"]))


def test_a_cloud_says_its_other_addresses_itself(subject, new_az):
    az = new_az(AZURE_CORE_INSTANCE_DISCOVERY="false")
    az("cloud", "register", "-n", "mine", "--endpoint-resource-manager", subject["resourceManager"])
    az("cloud", "set", "-n", "mine")
    cloud = az("cloud", "show")
    endpoints = cloud["endpoints"]
    assert (cloud["name"], cloud["isActive"]) == ("mine", True)
    assert endpoints["activeDirectory"].startswith("https://login.")
    assert not endpoints["activeDirectory"].endswith("/")
    assert endpoints["microsoftGraphResourceId"].startswith("https://graph.")
    assert cloud["suffixes"]["keyvaultDns"].startswith(".vault.")
    assert cloud["suffixes"]["storageEndpoint"]
    (account,) = signed_in(subject, az)
    assert (account["cloudName"], account["id"]) == ("mine", subject["subscriptionId"])
    assert az("ad", "sp", "show", "--id", subject["administrator"]["clientId"])
    assert az("group", "show", "-n", "conformance")["name"] == "conformance"


def test_a_cloud_is_registered_by_all_its_addresses(subject, new_az):
    az = new_az(AZURE_CORE_INSTANCE_DISCOVERY="false")
    manager = subject["resourceManager"]
    az(
        *("cloud", "register", "-n", "explicit", "--skip-endpoint-discovery"),
        *("--endpoint-resource-manager", manager, "--endpoint-management", manager),
        *("--endpoint-active-directory", subject["authority"]),
        *("--endpoint-active-directory-resource-id", "https://management.azure.com"),
        *("--endpoint-microsoft-graph-resource-id", f"{subject['graph']}/"),
        *("--suffix-keyvault-dns", vault_suffix(subject)),
    )
    az("cloud", "set", "-n", "explicit")
    (account,) = signed_in(subject, az)
    assert account["cloudName"] == "explicit"
    secret, vault = subject["secret"], subject["vaults"]["granted"]["name"]
    shown = az("keyvault", "secret", "show", "--vault-name", vault, "-n", secret["name"])
    assert shown["value"] == secret["value"]
    assert az("ad", "sp", "show", "--id", subject["administrator"]["clientId"])


def vault_suffix(subject):
    vault = subject["vaults"]["granted"]
    return vault["url"].removeprefix(f"https://{vault['name']}")
