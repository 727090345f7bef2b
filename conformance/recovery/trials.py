"""Every client through every fault: each on a machine of its own, one fault after the other, all clients at the same time."""

import concurrent.futures
import contextlib
import dataclasses
import select
import socket
import subprocess
import threading
import time
import urllib.parse

from asked import Program
from profiles import WARM_UP_AUDIENCE
from support import CLIENTS, SOURCES

import story

# The most patient client waits for 70 seconds and then as long as it had waited before.
ANSWER_SECONDS_MAX = 200


@dataclasses.dataclass(frozen=True)
class Outcome:
    """After how long there was a token, or under which name the client gave up."""

    seconds: float
    refusal: str | None
    words: str = ""


class Trials:
    """By source, client and the fault's name."""

    def __init__(self, workloads, chosen):
        self.workloads = workloads
        self.lock = threading.Lock()
        by_client = {}
        for source, client, profile in chosen:
            by_client.setdefault((source, client), []).append(profile)
        self.threads = concurrent.futures.ThreadPoolExecutor(max(1, len(by_client)))
        self.futures = {
            key: self.threads.submit(self.go_through, *key, profiles) for key, profiles in by_client.items()
        }

    def outcome(self, source, client, profile):
        return self.futures[source, client].result()[profile.name]

    def go_through(self, source, client, profiles):
        kind = SOURCES[source]
        with self.lock:
            machine = self.machine(kind, f"recovery-{source}-{client}")
            variables = self.workloads.variables_at(CLIENTS[client], kind, machine)
        with contextlib.closing(Program(client, variables if CLIENTS[client].is_bound else {})) as program:
            self.ask(program, source, variables, WARM_UP_AUDIENCE)
            return {each.name: self.outcome_of(program, source, variables, machine, each) for each in profiles}

    def outcome_of(self, program, source, variables, machine, profile):
        for words in profile.faults:
            self.keycard("fault", "set", *words, "--on", machine)
        with self.others(profile.others, source, machine):
            begin = time.monotonic()
            told = self.ask(program, source, variables, profile.audience)
            seconds = time.monotonic() - begin
        self.keycard("fault", "clear", "--on", machine)
        return Outcome(seconds, told.get("refusal"), told.get("words", ""))

    @contextlib.contextmanager
    def others(self, count, source, machine):
        """So many requests, each over a connection of its own; the rest is under way once one of them is refused."""
        with contextlib.ExitStack() as connections:
            if count:
                with self.lock:
                    host, request = documented_request(self.workloads.environment(SOURCES[source], machine))
                sockets = [connections.enter_context(socket.create_connection(host)) for _ in range(count)]
                for connection in sockets:
                    connection.sendall(request)
                refused, _, _ = select.select(sockets, [], [], ANSWER_SECONDS_MAX)
                status = refused[0].recv(1024).split()[1]
                assert status == b"429", f"one more than are let through was told {status}"
            yield

    def machine(self, source, name):
        """The id of a resource with a system-assigned identity."""
        body = {"properties": {}, **story.identity_block("SystemAssigned")}
        del body["identity"]["userAssignedIdentities"]
        return self.workloads.administrator.put_resource(source.resource_type, name, body)["id"]

    def ask(self, program, source, variables, audience):
        question = {"source": source, "resource": audience, "selector": None, "variables": variables}
        return program.ask(question, ANSWER_SECONDS_MAX)

    def keycard(self, *words):
        keycard(self.workloads.subject, *words)

    def close(self):
        self.threads.shutdown(cancel_futures=True)


def keycard(subject, *words):
    """A command of keycard's own, which must succeed."""
    command = subject["command"]
    done = subprocess.run([command["program"], *words], env=command["environment"], capture_output=True, text=True)
    assert done.returncode == 0, f"keycard {' '.join(words)}: {done.stderr}"


def documented_request(variables):
    """The address of the endpoint to which the variables lead, and a token request as Microsoft documents it there."""
    if endpoint := variables.get("IDENTITY_ENDPOINT"):
        version, header = "2019-08-01", f"X-IDENTITY-HEADER: {variables['IDENTITY_HEADER']}"
    else:
        endpoint = f"{variables['AZURE_POD_IDENTITY_AUTHORITY_HOST']}/metadata/identity/oauth2/token"
        version, header = "2018-02-01", "Metadata: true"
    parts = urllib.parse.urlsplit(endpoint)
    target = f"{parts.path}?api-version={version}&resource={WARM_UP_AUDIENCE}"
    request = f"GET {target} HTTP/1.1\r\nHost: {parts.netloc}\r\n{header}\r\n\r\n"
    return (parts.hostname, parts.port), request.encode()
