"""The subject and its workloads, and what became of each client under each fault."""

import json
import os
import pathlib

import pytest

from profiles import CLIENTS, PROFILES
from trials import Trials
from workloads import Workloads

IS_LONG = bool(os.environ.get("KEYCARD_LONG"))


@pytest.fixture(scope="session")
def subject():
    return json.loads(pathlib.Path(os.environ["KEYCARD_SUBJECT"]).read_text())


@pytest.fixture(scope="session")
def trials(request, subject):
    """The outcomes of all trials that were chosen."""
    chosen = [trial(item) for item in request.session.items if "trial" in item.keywords]
    given = Trials(Workloads(subject), chosen)
    yield given
    given.close()


def trial(item):
    return tuple(item.callspec.params[name] for name in ("source", "client", "profile"))


def pytest_generate_tests(metafunc):
    if metafunc.definition.get_closest_marker("trial"):
        all_trials = [
            (source, client, profile)
            for profile in PROFILES
            if IS_LONG or not profile.is_long
            for source in profile.sources
            for client in CLIENTS
        ]
        ids = [f"{source}-{client}-{profile.name}" for source, client, profile in all_trials]
        metafunc.parametrize(("source", "client", "profile"), all_trials, ids=ids)
