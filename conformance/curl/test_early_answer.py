"""An answer given before the request's body has arrived reaches the caller. Every Azure SDK meets this at its first write.

RFC 9113, section 8.1 lets a server answer early and then reset the stream, but curl 7.88.1 (Debian 12) throws such an answer
away and exits 92: a server that wants to be heard reads a body of ordinary size before it ends the stream.
"""

import pathlib
import subprocess
import time

import pytest

import asking
from vault import API_VERSION

# How long the body is held back. The server may answer in this time, or wait for the body: both are right.
BODY_DELAY_SECONDS_MAX = 0.3


def put_with_a_late_body(url, directory, *arguments):
    """PUTs from a pipe: curl sends the head at once and the body when there is one."""
    head, body = directory / "head", directory / "body"
    command = ["curl", "--silent", "--show-error", "--max-time", str(asking.ANSWER_SECONDS_MAX), "--upload-file", "-"]
    outputs = ["--dump-header", str(head), "--output", str(body)]
    caller = subprocess.Popen(
        [*command, *outputs, *arguments, url], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + BODY_DELAY_SECONDS_MAX
    while time.monotonic() < deadline and caller.poll() is None and not answered(head):
        time.sleep(0.01)
    _, words = caller.communicate("{}")
    assert caller.returncode == 0, words
    return asking.parse(head.read_text(), body.read_text())


def answered(head: pathlib.Path):
    return head.exists() and head.read_text().endswith("\n\n")


@pytest.mark.parametrize("protocol", ["--http2", "--http1.1"])
def test_a_challenge_before_the_body_is_heard(subject, tmp_path, protocol):
    url = f"{subject['vaults']['granted']['url']}/secrets/any?api-version={API_VERSION}"
    assert put_with_a_late_body(url, tmp_path, protocol).status == 401


@pytest.mark.parametrize("protocol", ["--http2", "--http1.1"])
def test_a_refusal_by_resource_manager_before_the_body_is_heard(subject, tmp_path, protocol):
    url = f"{subject['resourceManager']}/subscriptions/{subject['subscriptionId']}/resourceGroups/any?api-version=2024-11-01"
    assert put_with_a_late_body(url, tmp_path, protocol).status == 401


@pytest.mark.parametrize("protocol", ["--http2", "--http1.1"])
def test_a_body_that_says_nothing_does_not_spoil_the_answer(subject, administrator_token, protocol):
    """Some clients send one with every method."""
    url = f"{subject['resourceManager']}{subject['resourceGroup']}?api-version=2024-11-01"
    token = administrator_token("https://management.azure.com")
    for _ in range(5):
        answer = asking.curl(url, protocol, *asking.bearer(token), *asking.json_body("GET", {"location": "eastus"}))
        assert answer.status == 200, answer
