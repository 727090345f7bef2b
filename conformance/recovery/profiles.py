"""The faults that each SDK has to bear: how each is set with `keycard fault set`, and how the page calls it."""

import dataclasses

# Clients of matrix/ that are no bare request.
CLIENTS = ("azure-identity", "azure-identity-aio", "msal", "msal-msiv2", "node-identity", "msal-node", "rust-identity", "az")


@dataclasses.dataclass(frozen=True)
class Profile:
    """Faults, set on one machine; `audience` is its own, since some clients keep tokens for the whole process."""

    name: str
    title: str
    faults: tuple[tuple[str, ...], ...]
    audience: str
    # Requests of others that are sent before; all but one of them are under way then.
    others: int = 0
    sources: tuple[str, ...] = ("imds", "app-service")
    # Takes more than a minute: run by `./test --long` only.
    is_long: bool = False


PROFILES = (
    Profile(
        "throttled",
        "429, `Retry-After: 2`, twice",
        (("too-many-requests", "--retry-after", "2s", "--requests", "2"),),
        "https://vault.azure.net",
    ),
    Profile(
        "crowded",
        "five others at once, for 3 s",
        # In the order of their names: who is not let through is not slow.
        (("throttle", "--name", "1"), ("slow-answer", "--name", "2", "--delay", "3s", "--requests", "5")),
        "https://database.windows.net",
        others=6,
    ),
    Profile(
        "unavailable",
        "503, three times",
        (("server-error", "--status", "503", "--requests", "3"),),
        "https://vault.azure.net/",
    ),
    Profile(
        "late",
        "3 s late, once",
        (("slow-answer", "--delay", "3s", "--requests", "1"),),
        "https://storage.azure.com",
    ),
    Profile(
        "dropped",
        "dropped before the answer, once",
        (("connection-dropped", "--moment", "before-answer", "--requests", "1"),),
        "https://storage.azure.com/",
    ),
    Profile(
        "cut",
        "dropped within the answer, once",
        (("connection-dropped", "--moment", "mid-answer", "--requests", "1"),),
        "https://graph.microsoft.com",
    ),
    Profile(
        "updating-short",
        "410 for 10 s",
        (("updating", "--for", "10s"),),
        "https://graph.microsoft.com/",
        sources=("imds",),
    ),
    Profile(
        "updating",
        "410 for 70 s",
        (("updating",),),
        "https://database.windows.net/",
        sources=("imds",),
        is_long=True,
    ),
)

# Whose waits, drawn by lot, end about when the fault does: either a token or this refusal.
BY_CHANCE = {("imds", "node-identity", "updating"): "CredentialUnavailableError"}

# Asked for before any fault, so that no start of a program is measured.
WARM_UP_AUDIENCE = "https://management.azure.com"
