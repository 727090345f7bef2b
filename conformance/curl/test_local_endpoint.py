"""What every local endpoint refuses whatever it serves: foreign names, bodies in pieces, malformed header lines.

Source: the contract, "Acting as a resource" and "Settled meanings"; RFC 9112, sections 3.2, 5 and 6.
"""

import socket
import urllib.parse

import pytest

import asking

GOOD = "?api-version=2018-02-01&resource=https://vault.azure.net"
TARGET = f"/metadata/identity/oauth2/token{GOOD}"


@pytest.mark.parametrize("host", ["metadata.example.com", "169.254.169.254.example.com", "127.0.0.2", "localhost.example"])
def test_a_foreign_host_is_refused(metadata, host):
    """A page in a browser that rebinds its own name to this address must get nothing."""
    answer = metadata.ask(GOOD, "--header", f"Host: {host}")
    assert answer.status == 400
    assert answer.json()["error"]


def test_a_foreign_host_in_absolute_form_is_refused(metadata):
    answer = metadata.ask(GOOD, "--request-target", f"http://metadata.example.com{TARGET}")
    assert answer.status == 400


def test_the_link_local_name_is_known(metadata):
    assert metadata.ask(GOOD, "--header", "Host: 169.254.169.254").status == 200


def test_a_site_refuses_a_foreign_host(subject):
    variables = subject["site"]["variables"]
    url = f"{variables['IDENTITY_ENDPOINT']}?api-version=2019-08-01&resource=https://vault.azure.net"
    headers = ("--header", f"X-IDENTITY-HEADER: {variables['IDENTITY_HEADER']}", "--header", "Host: site.example.com")
    assert asking.curl(url, *headers).status == 400


def test_a_body_in_chunks_is_refused(metadata):
    answer = metadata.ask(GOOD, "--request", "GET", "--header", "Transfer-Encoding: chunked", "--data", "x=1")
    assert answer.status == 400


RAW = {
    "length_and_chunks": "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two_lengths": "Content-Length: 0\r\nContent-Length: 1\r\n\r\n",
    "space_before_the_colon": "Colour : green\r\n\r\n",
    "folded_line": "Colour: green\r\n and: blue\r\n\r\n",
    "line_without_a_colon": "Colour\r\n\r\n",
    "zero_byte": "Colour: gr\0een\r\n\r\n",
    "two_hosts": "Host: localhost\r\n\r\n",
    "metadata_smuggled_by_folding": "Colour: green\r\n\tMetadata: true\r\n\r\n",
}


@pytest.mark.parametrize("rest", RAW.values(), ids=RAW.keys())
def test_a_malformed_head_is_refused(metadata, rest):
    """curl would not send these: they go over a plain socket."""
    address = urllib.parse.urlsplit(metadata.base)
    with socket.create_connection((address.hostname, address.port or 80), timeout=10) as connection:
        connection.sendall(f"GET {TARGET} HTTP/1.1\r\nHost: {address.netloc}\r\nConnection: close\r\nMetadata: true\r\n{rest}".encode())
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    assert answer.startswith(b"HTTP/1.1 400 "), answer
    assert b"access_token" not in answer
