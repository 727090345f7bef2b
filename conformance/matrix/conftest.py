"""The subject, the workloads whose endpoints are asked, the clients, and what all of them told."""

import json
import os
import pathlib
import socket
import threading

import pytest

import support
import page
from asked import Programs
from workloads import Workloads


@pytest.fixture(scope="session")
def subject():
    return json.loads(pathlib.Path(os.environ["KEYCARD_SUBJECT"]).read_text())


@pytest.fixture(scope="session")
def workloads(subject):
    return Workloads(subject)


@pytest.fixture(scope="session")
def programs():
    running = Programs()
    yield running
    running.close()


@pytest.fixture(scope="session")
def told():
    """What was seen of each cell: by source, client and selector, and then by what the resource had."""
    return page.Told()


class Unasked:
    """A listener where nobody is to ask: it counts who does."""

    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.connections = 0
        threading.Thread(target=self.count, daemon=True).start()

    @property
    def authority(self):
        return f"127.0.0.1:{self.socket.getsockname()[1]}"

    def count(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            self.connections += 1
            connection.close()


@pytest.fixture
def unasked():
    listener = Unasked()
    yield listener
    listener.socket.shutdown(socket.SHUT_RDWR)
    listener.socket.close()


def pytest_generate_tests(metafunc):
    """A test of a cell runs once for each cell that its marker is about."""
    for marker in metafunc.definition.iter_markers("cells"):
        cells = support.cells(marker.args[0])
        metafunc.parametrize(("source", "client", "selector"), cells, ids=["-".join(cell) for cell in cells])
