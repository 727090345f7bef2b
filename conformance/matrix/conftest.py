"""The subject, the workloads whose endpoints are asked, the clients, and what all of them told."""

import json
import os
import pathlib

import pytest

import page
import support
from answers import Answers
from workloads import Workloads


@pytest.fixture(scope="session")
def subject():
    return json.loads(pathlib.Path(os.environ["KEYCARD_SUBJECT"]).read_text())


@pytest.fixture(scope="session")
def workloads(subject):
    made = Workloads(subject)
    yield made
    made.close()


@pytest.fixture(scope="session")
def answers(request, workloads):
    """The answers to the questions of all tests that were chosen."""
    given = Answers(workloads, [question(item) for item in request.session.items if is_about_a_cell(item)])
    yield given
    given.close()


@pytest.fixture(scope="session")
def told():
    """What was seen of each cell: by source, client and selector, and then by what the resource had."""
    return page.Told()


def is_about_a_cell(item):
    return item.get_closest_marker("cells") is not None


def question(item):
    """What is tried, and the cell."""
    cell = tuple(item.callspec.params[name] for name in ("source", "client", "selector"))
    return item.get_closest_marker("cells").args[1], cell


def pytest_generate_tests(metafunc):
    """A test of a cell runs once for each cell that its marker is about."""
    for marker in metafunc.definition.iter_markers("cells"):
        cells = support.cells(marker.args[0])
        metafunc.parametrize(("source", "client", "selector"), cells, ids=["-".join(cell) for cell in cells])
