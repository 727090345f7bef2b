"""Programs as they run in production, with every check on and no variable set, as root and as an ordinary user."""

import os
import pathlib

import pytest

from stage import python

PROGRAMS = {
    "python": [python(), "read_secret.py"],
    "python-aio": [python(), "read_secret_aio.py"],
    "node": ["node", "read_secret.mjs"],
    "rust": [os.environ["KEYCARD_SANDBOX_RUST"]],
    "curl": ["bash", "read_secret.sh"],
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_reads_its_secret_as_published(stage, program):
    status, said, errors = stage.run(*PROGRAMS[program])
    assert (status, said) == (0, stage.greeting), errors


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_resource_without_the_right_is_refused_the_secret(stage, program):
    status, said, errors = stage.run(*PROGRAMS[program], resource="stranger")
    assert status != 0 and stage.greeting not in said, said
    assert "403" in errors or "Forbidden" in errors, errors


def test_outside_the_sandbox_nothing_has_changed(stage):
    """The same program, as the same user, does not trust keycard: its files are as they were."""
    bundle = pathlib.Path("/etc/ssl/certs/ca-certificates.crt")
    authority = pathlib.Path(stage.ready["caFile"]).read_text()
    assert authority not in bundle.read_text()
    status, said, _ = stage.run("cat", str(bundle))
    assert status == 0 and authority.strip() in said


def test_a_host_of_azures_that_keycard_has_no_service_for_says_so_at_once(stage):
    for url, code, words in [
        ("https://unknown.servicebus.windows.net/", "404", "keycard has no service at"),
        ("https://eastus.management.azure.com/subscriptions", "404", "keycard has no service at"),
        ("https://account.blob.core.windows.net/container", "501", "NotImplemented"),
    ]:
        status, said, errors = stage.run("curl", "-sS", "--max-time", "5", "--write-out", "%{http_code}", url)
        assert status == 0 and said.endswith(code) and words in said, (url, said, errors)


def test_a_name_that_is_not_azures_is_not_there(stage):
    status, _, errors = stage.run("curl", "-sS", "--max-time", "5", "https://example.com/")
    assert status == 6 and "Could not resolve host" in errors, errors


def test_openssl_finds_the_authority_in_the_hashed_directory_alone(stage):
    words = ["-connect", "sandbox-secrets.vault.azure.net:443", "-servername", "sandbox-secrets.vault.azure.net"]
    script = f"openssl s_client {' '.join(words)} -no-CAfile -verify_return_error </dev/null"
    status, said, errors = stage.run("bash", "-c", script)
    assert status == 0 and "Verify return code: 0 (ok)" in said, errors


def test_java_reads_its_store(stage):
    """Where there is a Java; elsewhere `java_trust_store`'s own test has to do."""
    status, said, errors = stage.run("bash", "-c", "command -v keytool || exit 0; keytool -list -cacerts")
    assert status == 0, errors
    assert not said.count("\n") or "Your keystore contains" in said, said
