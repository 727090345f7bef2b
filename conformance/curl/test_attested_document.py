"""The document by which a machine proves what it is. Numbers: specs/token-endpoints.md, section 9, Instance metadata.

Source: Microsoft Learn, Azure Instance Metadata Service, "Attested data".
"""

import base64
import json
import subprocess

import pytest


def verified(signature, ca_file):
    """The content of a PKCS#7 document as OpenSSL reads it; none where its signature does not lead to the authority."""
    command = ["openssl", "cms", "-verify", "-binary", "-inform", "DER", "-CAfile", ca_file]
    done = subprocess.run(command, input=signature, capture_output=True)
    return json.loads(done.stdout) if done.returncode == 0 else None


@pytest.fixture
def document(metadata):
    def ask(query=""):
        answer = metadata.ask(f"?api-version=2021-02-01{query}", path="/metadata/attested/document").json()
        assert answer["encoding"] == "pkcs7"
        return base64.b64decode(answer["signature"])

    return ask


def test_openssl_verifies_the_document(subject, metadata, document):
    """72."""
    content = verified(document("&nonce=1234567890"), subject["caFile"])
    vm_id = metadata.ask("?api-version=2021-02-01&format=text", path="/metadata/instance/compute/vmId").body
    assert (content["nonce"], content["vmId"]) == ("1234567890", vm_id)
    assert content["subscriptionId"] == subject["subscriptionId"]


def test_a_changed_document_is_not_verified(subject, document):
    signed = document("&nonce=1234567890")
    assert verified(signed.replace(b"1234567890", b"1234567891"), subject["caFile"]) is None


def test_the_signer_is_named_as_verifiers_look_for_it(document):
    """Consumers want a subdomain of metadata.azure.com."""
    shown = subprocess.run(
        ["openssl", "pkcs7", "-inform", "DER", "-print_certs", "-text", "-noout"], input=document(), capture_output=True
    )
    assert b"DNS:*.metadata.azure.com" in shown.stdout
