"""Each SDK recovers from each fault, or gives up, as the page says, and in about the time that it says.

Source: Microsoft Learn, "How to use managed identities … to acquire an access token", "Retry guidance"; the clients.
"""

import os

import pytest

import recovery_page
from page import PAGE
from profiles import CLIENTS, PROFILES

IS_UPDATE = bool(os.environ.get("KEYCARD_UPDATE"))


@pytest.fixture(scope="session")
def seen():
    """What became of each trial."""
    return {}


@pytest.mark.trial
def test_a_client_bears_a_fault_as_the_page_says(trials, seen, source, client, profile):
    outcome = trials.outcome(source, client, profile)
    seen[source, client, profile.name] = outcome
    if not IS_UPDATE:
        said = recovery_page.read(PAGE.read_text())[source, client, profile.name]
        assert said.is_of(outcome), f"the page says “{said}”, and it was {outcome}"


if IS_UPDATE:

    def test_the_page_is_written(seen):
        every = {(source, client, each.name) for each in PROFILES for source in each.sources for client in CLIENTS}
        assert set(seen) == every, "the page is made of a whole run: KEYCARD_UPDATE=1 ./test --long recovery"
        recovery_page.write(PAGE, {key: recovery_page.said(key, outcome) for key, outcome in seen.items()})
