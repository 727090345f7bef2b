"""Which client knows which source of tokens, and by which names of an identity: what the cells and the page are made of.

Source: the clients themselves in the versions that ./test installs; specs/token-endpoints.md, sections 1.1 and 1.2.
"""

import dataclasses
import pathlib
import re

CONFORMANCE = pathlib.Path(__file__).resolve().parents[1]
SELECTORS = ("system", "client_id", "object_id", "resource_id")

# What a client does with a selector: it asks the endpoint for that identity, it refuses by itself, it asks for the default
# one as if nothing had been said, or there is no way to say it.
ASKS, REFUSES, IGNORES, NONE = "asks", "refuses", "ignores", "none"


@dataclasses.dataclass(frozen=True)
class Client:
    """A program in programs/ that is fed questions, and the client that it runs."""

    name: str
    title: str
    # Where its version is fixed: a file of this folder, and the package's name there.
    fixed_in: tuple[str, str] = ()
    # Whether it has to be started anew for each endpoint, since it reads its variables once.
    is_bound: bool = False

    def __str__(self):
        return f"{self.title} {version(*self.fixed_in)}" if self.fixed_in else self.title


@dataclasses.dataclass(frozen=True)
class Source:
    """A kind of local endpoint, and what bears it in Azure."""

    name: str
    title: str
    kind: str
    resource_type: str


PYTHON, NODE = "python/requirements.txt", "node/package.json"


def version(file, package):
    """What the file says of the package: `NAME==1`, `"NAME": "1"` or `NAME = "=1"`."""
    text = (CONFORMANCE / file).read_text()
    return re.search(rf'^\s*"?{re.escape(package)}"? ?(?:==|:|=) ?"?=?([^"\s]+)', text, re.MULTILINE)[1]


CLIENTS = {
    client.name: client
    for client in (
        Client("azure-identity", "Python azure-identity", (PYTHON, "azure-identity")),
        Client("azure-identity-aio", "Python azure-identity.aio", (PYTHON, "azure-identity")),
        Client("msal", "Python msal", (PYTHON, "msal")),
        Client("msal-msiv2", "Python msal-msiv2", ("msiv2/requirements.txt", "msal-msiv2")),
        Client("node-identity", "JS @azure/identity", (NODE, "@azure/identity"), is_bound=True),
        Client("msal-node", "JS @azure/msal-node", (NODE, "@azure/msal-node"), is_bound=True),
        Client("rust-identity", "Rust azure_identity", ("rust/Cargo.toml", "azure_identity"), is_bound=True),
        Client("az", "az", ("az/requirements.txt", "azure-cli")),
        Client("curl", "curl as documented", is_bound=True),
    )
}

VM = "Microsoft.Compute/virtualMachines"

SOURCES = {
    source.name: source
    for source in (
        Source("imds", "IMDS", "imds", VM),
        Source("app-service", "App Service, 2019-08-01", "app-service", "Microsoft.Web/sites"),
        Source("app-service-2017", "App Service, 2017-09-01", "app-service", "Microsoft.Web/sites"),
        Source("arc", "Azure Arc", "arc", VM),
        Source("service-fabric", "Service Fabric", "service-fabric", VM),
        Source("azure-ml", "Azure Machine Learning", "azure-ml", VM),
        Source("cloud-shell", "Cloud Shell", "cloud-shell", VM),
        Source("workload-identity", "Workload identity federation", "workload-identity", VM),
    )
}

ALL = (ASKS, ASKS, ASKS, ASKS)
NOTHING = (REFUSES, REFUSES, REFUSES, REFUSES)
DEFAULT_ONLY = (ASKS, NONE, NONE, NONE)
REFUSES_NAMES = (ASKS, REFUSES, REFUSES, REFUSES)
CLIENT_ID_ONLY = (NONE, ASKS, NONE, NONE)
IGNORES_NAMES = (ASKS, IGNORES, IGNORES, IGNORES)

# By source and client, in the order of SELECTORS. A client that is not named has no way to ask there.
SUPPORT = {
    "imds": dict.fromkeys(CLIENTS, ALL),
    "app-service": {
        **dict.fromkeys(CLIENTS, ALL),
        "rust-identity": (ASKS, ASKS, ASKS, REFUSES),
    },
    # No client of today sends it but as Azure Machine Learning.
    "app-service-2017": {"curl": (ASKS, ASKS, NONE, NONE)},
    "arc": {
        **dict.fromkeys(CLIENTS, ALL),
        "msal-msiv2": REFUSES_NAMES,
        "rust-identity": NOTHING,
        "curl": DEFAULT_ONLY,
    },
    "service-fabric": {
        "azure-identity": REFUSES_NAMES,
        "azure-identity-aio": REFUSES_NAMES,
        "msal": IGNORES_NAMES,
        "msal-msiv2": IGNORES_NAMES,
        "node-identity": REFUSES_NAMES,
        "msal-node": ALL,
        "rust-identity": NOTHING,
        "az": IGNORES_NAMES,
    },
    "azure-ml": {
        "azure-identity": ALL,
        "azure-identity-aio": ALL,
        "msal": ALL,
        "msal-msiv2": ALL,
        "node-identity": (ASKS, ASKS, REFUSES, REFUSES),
        "msal-node": (ASKS, ASKS, REFUSES, REFUSES),
        "rust-identity": NOTHING,
        "az": ALL,
    },
    # msal for Python by its public client, and az with it: both ask another address than the variable's.
    "cloud-shell": {
        "azure-identity": REFUSES_NAMES,
        "azure-identity-aio": REFUSES_NAMES,
        "msal": DEFAULT_ONLY,
        "msal-msiv2": DEFAULT_ONLY,
        "node-identity": REFUSES_NAMES,
        "msal-node": REFUSES_NAMES,
        "rust-identity": NOTHING,
        "az": IGNORES_NAMES,
        "curl": DEFAULT_ONLY,
    },
    # By the credential of that name, or `az login --service-principal --federated-token`.
    "workload-identity": dict.fromkeys(
        ("azure-identity", "azure-identity-aio", "node-identity", "rust-identity", "az", "curl"), CLIENT_ID_ONLY
    ),
}

# No client may take a refusal for a passing fault, and ask again and again.
REFUSAL_SECONDS_MAX = 5

# But where Azure's own status for a refusal is 404, these take it for one that passes.
PATIENT = {("service-fabric", "node-identity"): 40, ("service-fabric", "msal-node"): 40}


def refusal_seconds_max(source, client):
    return PATIENT.get((source, client), REFUSAL_SECONDS_MAX)


def does(source, client, selector):
    """What the client does with that selector at that source."""
    return SUPPORT[source].get(client, (NONE,) * len(SELECTORS))[SELECTORS.index(selector)]


def cells(doing):
    """Source, client and selector of every cell in which the client does that."""
    return [
        (source, client, selector)
        for source in SOURCES
        for client in CLIENTS
        for selector in SELECTORS
        if does(source, client, selector) == doing
    ]
