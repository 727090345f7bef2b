"""The subject file: everything a suite may know about what it tests, so that another implementation can be the subject.

A suite reads nothing else. `imds`, the variables and the suffixes are how this subject is reached; the rest is what exists.
"""

import server
import story

TRUST_VARIABLES = ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "CURL_CA_BUNDLE")

# The kinds of endpoint that no resource of the story has by itself.
FURTHER_KINDS = ("arc", "service-fabric", "cloud-shell", "azure-ml")

# Variables of the calling shell that would steer an SDK elsewhere.
STEERING_PREFIXES = ("AZURE_", "IDENTITY_", "MSI_", "IMDS_", "DEFAULT_IDENTITY_")
KIND_PREFIXES = tuple(prefix for prefix in STEERING_PREFIXES if prefix != "AZURE_")
STEERING_NAMES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ssl_cert_dir")


def describe(keycard, told, in_namespace):
    ready = keycard.ready
    suffix = ".vault.azure.net" if in_namespace else ready["suffixes"]["keyVaultDns"]
    site = variables(keycard, told["site"]["id"], "app-service")
    vm = told["machines"][story.LINK_LOCAL_VM]
    return {
        "tenantId": ready["tenantId"],
        "subscriptionId": ready["subscriptionId"],
        "authority": "https://login.microsoftonline.com" if in_namespace else ready["endpoints"]["tokenService"],
        "resourceManager": "https://management.azure.com" if in_namespace else ready["endpoints"]["resourceManager"],
        "graph": "https://graph.microsoft.com" if in_namespace else ready["endpoints"]["graph"],
        "loopback": ready["endpoints"]["loopback"],
        "caFile": ready["caFile"],
        # Names under these suffixes mean 127.0.0.1 and must be resolved by the suite itself (plain glibc does not).
        "loopbackSuffixes": [] if in_namespace else ["keycard.localhost"],
        # The metadata service is at its own address: clients need no variable.
        "unmodified": in_namespace,
        "trust": {name: site[name] for name in TRUST_VARIABLES},
        "administrator": {**ready["administrator"], "certificateFile": str(keycard.administrator_pem)},
        "identities": {
            role: identity(told["identities"][name])
            for role, name in {"attached": story.ATTACHED_IDENTITY, "other": story.OTHER_IDENTITY}.items()
        },
        "vm": {
            "id": vm["id"],
            "principalId": vm["identity"]["principalId"],
            "variables": {} if in_namespace else variables(keycard, vm["id"], "imds"),
            # An endpoint of the other kind on the same machine, for clients that know no other.
            "appService": local_only(variables(keycard, vm["id"], "app-service")),
            # Of every further kind, what steers an SDK there.
            "kinds": {kind: steering(variables(keycard, vm["id"], kind)) for kind in FURTHER_KINDS},
        },
        "site": {
            "id": told["site"]["id"],
            "principalId": told["site"]["identity"]["principalId"],
            "variables": local_only(site) if in_namespace else site,
        },
        "imds": metadata_urls(keycard, told, in_namespace),
        "vaults": {
            role: {"name": name, "id": told["vaults"][name]["id"], "url": f"https://{name}{suffix}"}
            for role, name in {
                "granted": story.GRANTED_VAULT,
                "denied": story.DENIED_VAULT,
                "policies": story.POLICY_VAULT,
            }.items()
        },
        "freeVaultNames": story.FREE_VAULT_NAMES,
        # Where suites make what they need for themselves, and the machine to which they attach identities.
        "resourceGroup": f"/subscriptions/{ready['subscriptionId']}/resourceGroups/{story.RESOURCE_GROUP}",
        "workloadsVm": {"id": told["machines"][story.WORKLOADS_VM]["id"], "name": story.WORKLOADS_VM},
        # keycard's own commands; a subject without them is no keycard, and their tests are skipped.
        "command": {"program": server.binary(), "environment": server.own_environment(keycard.home)},
        # Its value is in the granted vault; the machine's system-assigned identity may read it.
        "secret": told["secret"],
    }


def variables(keycard, resource_id, kind):
    return keycard.command("env", "--as", resource_id, "--kind", kind)


def steering(variables):
    """Of all that `keycard env` prints, what a runtime of that kind would set."""
    return {name: value for name, value in variables.items() if name.startswith(KIND_PREFIXES)}


def local_only(variables):
    """Of all that `keycard env` prints, what App Service itself would set."""
    return {name: variables[name] for name in ("IDENTITY_ENDPOINT", "IDENTITY_HEADER")}


def identity(resource):
    return {"id": resource["id"], **{key: resource["properties"][key] for key in ("clientId", "principalId")}}


def metadata_urls(keycard, told, in_namespace):
    """Base URL of each virtual machine's metadata endpoint, by the machine's name."""
    listed = {
        attachment["resourceId"].lower(): attachment["url"].rstrip("/")
        for attachment in keycard.command("attachment", "list")
        if attachment["kind"] == "imds"
    }
    urls = {name: listed[machine["id"].lower()] for name, machine in told["machines"].items()}
    return {**urls, story.LINK_LOCAL_VM: "http://169.254.169.254"} if in_namespace else urls


def never_logged(described):
    """What the server must not write down while a suite runs. Every JSON Web Token begins with the same letters."""
    return {
        "the administrator's secret": described["administrator"]["clientSecret"],
        "a site's identity header": described["site"]["variables"]["IDENTITY_HEADER"],
        "a secret's value": described["secret"]["value"],
        "a token": "eyJ",
    }


def environment(inherited, described, resource):
    """What a suite's process sees: nothing that steers an SDK but the subject's trust, and one resource's variables if asked."""
    clean = {
        name: value
        for name, value in inherited.items()
        if not name.startswith(STEERING_PREFIXES) and name.lower() not in STEERING_NAMES
    }
    own = described[resource]["variables"] if resource else {}
    return {**clean, **described["trust"], **own}
