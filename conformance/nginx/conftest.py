"""The orders service, nginx in front of it, and the resource group below which its shops lie."""

import http.server
import threading
import urllib.parse

import pytest
from fixtures import *  # noqa: F403
from proxy import Orders, nginx


@pytest.fixture(scope="session")
def orders():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Orders) as server:
        server.seen = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(scope="session")
def shops(subject, arm):
    """The resource group below which the shops lie."""
    path = f"/subscriptions/{subject['subscriptionId']}/resourceGroups/orders"
    yield arm.must("PUT", path, {"location": "eastus"})["id"]
    arm.must("DELETE", path)


@pytest.fixture(scope="session")
def places(subject, orders):
    """Where the places of the example are in this run."""
    return {
        "127.0.0.1:8443": f"127.0.0.1:{urllib.parse.urlsplit(subject['loopback']).port or 443}",
        "127.0.0.1:8081": f"127.0.0.1:{orders.server_address[1]}",
        "00000000-0000-0000-0000-000000000000": subject["subscriptionId"],
        "/etc/nginx/keycard-ca.pem": subject["caFile"],
    }


@pytest.fixture(scope="session")
def proxy(tmp_path_factory, shops, places):
    with nginx(tmp_path_factory.mktemp("nginx"), **places) as url:
        yield url
