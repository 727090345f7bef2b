"""What became of every question that the chosen tests are about. The clients are asked at the same time, each of them one
question after the other, so that one that waits keeps no other waiting.
"""

import concurrent.futures
import dataclasses
import socket
import threading
import time
import urllib.parse

from asked import Programs
from support import CLIENTS, SOURCES
from workloads import BOTH, NO_IDENTITY, USERS_ONLY

VAULT = "https://vault.azure.net"

# What is tried of a cell.
ATTACHED, NOT_ATTACHED, WITHOUT, ELSEWHERE = "attached", "not attached", "no identity", "where nobody is to ask"

# The role of an identity that is not there.
NOBODY = "nobody"

MEMBERS = {"client_id": "clientId", "object_id": "principalId", "resource_id": "id"}


@dataclasses.dataclass
class Answer:
    told: dict
    seconds: float
    # Of questions where nobody is to ask: how often somebody did.
    connections: int = 0


class Answers:
    """By what is tried, and by source, client and selector."""

    def __init__(self, workloads, questions):
        self.workloads = workloads
        self.programs = Programs()
        self.lock = threading.Lock()
        self.threads = {client: concurrent.futures.ThreadPoolExecutor(1) for client in CLIENTS}
        self.futures = {
            (tried, cell): self.threads[cell[1]].submit(self.ask, tried, *cell) for tried, cell in questions
        }

    def __call__(self, tried, *cell):
        return self.futures[tried, cell].result()

    def ask(self, tried, source, client, selector):
        having, role = BOTH, "attached"
        if tried == WITHOUT:
            having = NO_IDENTITY
            role = NOBODY if source == "workload-identity" else role
        elif tried == NOT_ATTACHED:
            having, role = (USERS_ONLY, "attached") if selector == "system" else (BOTH, "other")
        with self.lock:
            variables = self.workloads.variables_of(CLIENTS[client], SOURCES[source], having)
            before = self.workloads.words_before(CLIENTS[client], SOURCES[source], having)
        if tried == ELSEWHERE:
            with Unasked() as listener:
                variables = {name: listener.instead_of(value) for name, value in variables.items()}
                answer = self.put(source, client, self.named(selector, role), variables, before)
                return dataclasses.replace(answer, connections=listener.connections)
        return self.put(source, client, self.named(selector, role), variables, before)

    def named(self, selector, role):
        if selector == "system":
            return None
        if role == NOBODY:
            return [selector, "00000000-0000-4000-8000-000000000000"]
        return [selector, self.workloads.subject["identities"][role][MEMBERS[selector]]]

    def put(self, source, client, selector, variables, before):
        program = self.programs.program(CLIENTS[client], variables, before)
        begin = time.monotonic()
        told = program.ask({"source": source, "resource": VAULT, "selector": selector, "variables": variables})
        return Answer(told, time.monotonic() - begin)

    def close(self):
        for thread in self.threads.values():
            thread.shutdown(cancel_futures=True)
        self.programs.close()


class Unasked:
    """A listener where nobody is to ask: it counts who does."""

    def __enter__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.connections = 0
        threading.Thread(target=self.count, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()

    def count(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            self.connections += 1
            connection.close()

    def instead_of(self, value):
        """A URL at this address instead of its own; what is no URL stays."""
        parts = urllib.parse.urlsplit(value)
        if parts.scheme not in ("http", "https"):
            return value
        return parts._replace(netloc=f"127.0.0.1:{self.socket.getsockname()[1]}").geturl()
