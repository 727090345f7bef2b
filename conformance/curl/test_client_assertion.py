"""Certificates as credentials: every way in which some SDK writes its assertion. Numbers: specs/token-endpoints.md, 6.3 and 9.

Source: Microsoft Learn, "Microsoft identity platform application authentication certificate credentials"; RFC 7523.
"""

import base64
import pathlib
import time
import urllib.parse
import uuid

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

import asking
import claims

MANAGEMENT = "https://management.azure.com"
PSS = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
ALGORITHMS = {"RS256": padding.PKCS1v15(), "PS256": PSS}


class Writer:
    """Writes the administrator's assertions; what a test changes is an argument."""

    def __init__(self, subject, token_url):
        pem = pathlib.Path(subject["administrator"]["certificateFile"]).read_bytes()
        self.key = serialization.load_pem_private_key(pem, None)
        self.certificate = x509.load_pem_x509_certificate(pem)
        self.client_id = subject["administrator"]["clientId"]
        self.token_url = token_url

    def thumbprint(self, algorithm):
        return self.certificate.fingerprint(algorithm())

    def claims(self, **changed):
        now = int(time.time())
        own = {"aud": self.token_url, "iss": self.client_id, "sub": self.client_id, "jti": str(uuid.uuid4())}
        whole = {**own, "iat": now, "nbf": now, "exp": now + 600, **changed}
        return {name: value for name, value in whole.items() if value is not None}

    def assertion(self, algorithm="PS256", key=None, pad=False, header=None, **changed):
        thumbprint = {"x5t#S256": claims.encode(self.thumbprint(hashes.SHA256))}
        head = {"typ": "JWT", "alg": algorithm, **(thumbprint if header is None else header)}
        finish = padded if pad else str
        signed = f"{finish(claims.encode(head))}.{finish(claims.encode(self.claims(**changed)))}"
        signature = (key or self.key).sign(signed.encode(), ALGORITHMS[algorithm], hashes.SHA256())
        return f"{signed}.{finish(claims.encode(signature))}"


def padded(part):
    return part + "=" * (-len(part) % 4)


@pytest.fixture(scope="session")
def writer(subject, token_url):
    return Writer(subject, token_url)


@pytest.fixture(scope="session")
def present(writer):
    def present(assertion):
        form = {
            "grant_type": "client_credentials",
            "client_id": writer.client_id,
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion": assertion,
            "scope": f"{MANAGEMENT}/.default",
        }
        return asking.curl(writer.token_url, "--data", urllib.parse.urlencode(form))

    return present


def assert_refused(answer, code):
    assert answer.status == 401, answer
    assert (answer.json()["error"], answer.json()["error_codes"]) == ("invalid_client", [code])


HEADERS = {
    "sha256-unpadded": ("PS256", "x5t#S256", hashes.SHA256, claims.encode),
    "sha256-padded": ("PS256", "x5t#S256", hashes.SHA256, lambda raw: padded(claims.encode(raw))),
    "sha1-unpadded": ("RS256", "x5t", hashes.SHA1, claims.encode),
    "sha1-standard-alphabet": ("RS256", "x5t", hashes.SHA1, lambda raw: base64.b64encode(raw).decode()),
    "sha256-standard-alphabet": ("PS256", "x5t#S256", hashes.SHA256, lambda raw: base64.b64encode(raw).decode()),
}


@pytest.mark.parametrize("spelling", HEADERS.values(), ids=HEADERS.keys())
def test_each_spelling_of_the_thumbprint_is_understood(writer, present, spelling):
    """50."""
    algorithm, name, digest, encode = spelling
    answer = present(writer.assertion(algorithm, header={name: encode(writer.thumbprint(digest))}))
    assert answer.status == 200, answer


@pytest.mark.parametrize("change", [float, str], ids=["fractions", "digit-strings"])
def test_times_may_be_fractions_or_digit_strings(writer, present, change):
    """51. msal-py writes fractions, msal-net quotes them."""
    now = int(time.time())
    answer = present(writer.assertion(iat=None, nbf=change(now), exp=change(now + 600)))
    assert answer.status == 200, answer


@pytest.mark.parametrize("absent", [("iat",), ("nbf",), ("iat", "nbf"), ("jti",)], ids="-".join)
def test_times_that_some_clients_leave_out_are_not_missed(writer, present, absent):
    """51."""
    answer = present(writer.assertion(**dict.fromkeys(absent)))
    assert answer.status == 200, answer


def test_padded_segments_are_understood(writer, present):
    """51. azure.identity.aio pads its payload and signature."""
    assert present(writer.assertion(pad=True)).status == 200


@pytest.mark.parametrize("shape", [lambda text: text, lambda text: [text]], ids=["string", "array"])
def test_a_certificate_sent_along_may_be_a_string_or_an_array(writer, present, shape):
    """51."""
    der = base64.b64encode(writer.certificate.public_bytes(serialization.Encoding.DER)).decode()
    header = {"x5t#S256": claims.encode(writer.thumbprint(hashes.SHA256)), "x5c": shape(der)}
    assert present(writer.assertion(header=header)).status == 200


def test_line_breaks_in_a_certificate_sent_along_are_understood(writer, present):
    """51. msal-py copies them from the PEM file."""
    lines = writer.certificate.public_bytes(serialization.Encoding.PEM).decode().strip().split("\n")[1:-1]
    header = {"x5t#S256": claims.encode(writer.thumbprint(hashes.SHA256)), "x5c": ["\n".join(lines)]}
    assert present(writer.assertion(header=header)).status == 200


def test_an_expired_assertion_is_refused(writer, present):
    """52."""
    now = int(time.time())
    assert_refused(present(writer.assertion(iat=now - 7200, nbf=now - 7200, exp=now - 3600)), 700024)


def test_an_assertion_of_the_future_is_refused(writer, present):
    """52."""
    now = int(time.time())
    assert_refused(present(writer.assertion(iat=now + 3600, nbf=now + 3600, exp=now + 7200)), 700024)


def test_an_assertion_for_another_audience_is_refused(writer, present):
    """52."""
    answer = present(writer.assertion(aud="https://login.example.com/token"))
    assert answer.status == 401
    assert answer.json()["error"] == "invalid_client"


def test_an_assertion_by_another_key_is_refused(writer, present):
    """52."""
    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    assert_refused(present(writer.assertion(key=stranger)), 700027)


def test_an_assertion_by_an_unregistered_certificate_is_refused(writer, present):
    """52."""
    assert_refused(present(writer.assertion(header={"x5t#S256": claims.encode(b"\0" * 32)})), 700027)


def test_an_assertion_that_brings_its_own_key_is_refused(writer, present):
    """52. A certificate sent along proves nothing unless it is registered."""
    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    der = base64.b64encode(writer.certificate.public_bytes(serialization.Encoding.DER)).decode()
    assert_refused(present(writer.assertion(key=stranger, header={"x5c": [der]})), 700027)


@pytest.mark.parametrize("algorithm", ["none", "HS256"])
def test_an_assertion_without_a_real_signature_is_refused(writer, present, algorithm):
    """52."""
    head = {"typ": "JWT", "alg": algorithm, "x5t#S256": claims.encode(writer.thumbprint(hashes.SHA256))}
    unsigned = f"{claims.encode(head)}.{claims.encode(writer.claims())}."
    answer = present(unsigned + ("" if algorithm == "none" else claims.encode(b"signature")))
    assert answer.status in (400, 401)
    assert "access_token" not in answer.body


@pytest.mark.parametrize("assertion", ["", "nonsense", "a.b", "a.b.c", "a.b.c.d"])
def test_an_assertion_that_is_no_token_is_refused(present, assertion):
    """52 (section 6.5)."""
    answer = present(assertion)
    assert answer.status in (400, 401)
    assert answer.json()["error_codes"]
