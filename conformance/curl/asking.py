"""Requests through the real curl program, as Microsoft's documentation writes them, and what came back."""

import dataclasses
import json
import pathlib
import subprocess
import tempfile

ANSWER_SECONDS_MAX = 20

GUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"


@dataclasses.dataclass(frozen=True)
class Answer:
    status: int
    headers: dict
    body: str

    def json(self):
        assert self.headers.get("content-type", "").startswith("application/json"), self
        return json.loads(self.body)


class NoAnswer(Exception):
    """curl came back without an answer. Says what curl said and leaves the arguments, tokens among them, out."""


def curl(url, *arguments):
    """One request; `arguments` are curl's own."""
    with tempfile.TemporaryDirectory() as directory:
        head, body = pathlib.Path(directory, "head"), pathlib.Path(directory, "body")
        body.touch()
        fixed = ["--silent", "--show-error", "--globoff", "--path-as-is", "--max-time", str(ANSWER_SECONDS_MAX)]
        outputs = ["--dump-header", str(head), "--output", str(body)]
        done = subprocess.run(["curl", *fixed, *outputs, *arguments, url], stderr=subprocess.PIPE, text=True)
        if done.returncode:
            raise NoAnswer(f"{done.stderr.strip()} ({url})")
        return parse(head.read_text(), body.read_text())


def parse(head, body):
    """The last block of the header dump: an interim answer or a followed redirect has one of its own."""
    status_line, *lines = head.replace("\r\n", "\n").strip().split("\n\n")[-1].split("\n")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    return Answer(int(status_line.split()[1]), headers, body)


def bearer(token):
    return ("--header", f"Authorization: Bearer {token}")


def json_body(method, document):
    return ("--request", method, "--header", "Content-Type: application/json", "--data", json.dumps(document))


def statuses(url, *arguments):
    """The status of each request that a globbed URL stands for, over one connection."""
    fixed = ["--silent", "--show-error", "--max-time", str(ANSWER_SECONDS_MAX), "--write-out", "%{http_code}\\n"]
    command = ["curl", *fixed, "--output", "/dev/null", *arguments, url]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
