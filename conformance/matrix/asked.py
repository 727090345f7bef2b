"""A client under test as a process that is fed questions and tells what became of them (programs/)."""

import json
import os
import pathlib
import select
import subprocess
import sys

PROGRAMS = pathlib.Path(__file__).parent / "programs"
ANSWER_SECONDS_MAX = 60
STOP_SECONDS_MAX = 10

# What runs each client. Other Pythons, and programs that are built, are named by variables of ./test.
COMMANDS = {
    "azure-identity": lambda: [sys.executable, PROGRAMS / "azure_identity_sync.py"],
    "azure-identity-aio": lambda: [sys.executable, PROGRAMS / "azure_identity_aio.py"],
    "msal": lambda: [sys.executable, PROGRAMS / "msal_managed_identity.py"],
    "msal-msiv2": lambda: [os.environ["KEYCARD_MSIV2_PYTHON"], PROGRAMS / "msal_managed_identity.py"],
    "node-identity": lambda: ["node", PROGRAMS / "azure_identity.js"],
    "msal-node": lambda: ["node", PROGRAMS / "msal_node.js"],
    "rust-identity": lambda: [os.environ["KEYCARD_RUST_CLIENT"]],
    "az": lambda: [sys.executable, PROGRAMS / "az_login.py"],
    "curl": lambda: [sys.executable, PROGRAMS / "documented_curl.py"],
}


class Program:
    """One process of a client, with variables of its own besides those of the suite, and perhaps words before its command."""

    def __init__(self, client, variables, before=()):
        self.process = subprocess.Popen(
            [*before, *(str(word) for word in COMMANDS[client]())],
            env={**os.environ, **variables},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, question, seconds_max=ANSWER_SECONDS_MAX):
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        readable, _, _ = select.select([self.process.stdout], [], [], seconds_max)
        line = self.process.stdout.readline() if readable else ""
        assert line, f"{self.process.args} told nothing within {seconds_max} s"
        return json.loads(line)

    def close(self):
        self.process.stdin.close()
        try:
            self.process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


class Programs:
    """The processes that are running: one for each client, and where that is bound or run by words before it, one for each of
    its endpoints.
    """

    def __init__(self):
        self.running = {}

    def program(self, client, variables, before=()):
        """The client's process for this endpoint, started if it is not running."""
        own = variables if client.is_bound or before else {}
        key = (client.name, json.dumps(own, sort_keys=True), before)
        if key not in self.running:
            self.running[key] = Program(client.name, own, before)
        return self.running[key]

    def close(self):
        for program in self.running.values():
            program.close()
