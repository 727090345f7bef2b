"""What msal-msiv2 asks of Windows, done with other means: a key that the system keeps, and a connection that proves it.

The package runs on Windows only. Replaced are the functions that call its libraries (NCrypt, SChannel, AttestationClientLib);
every request, the certificate request included, and every check of an answer is the package's own.
"""

import ctypes
import http.client
import ssl
import tempfile
import types
import urllib.parse

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa, utils

ANSWER_SECONDS_MAX = 20
# No service attests keys here; the package insists on a token.
ATTESTATION = "attested-by-nobody"


class Windows:
    """One machine's key, and the connections that it makes. `connect` says where a host name leads."""

    def __init__(self, ca_file, connect=lambda host, port: (host, port)):
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.ca_file = ca_file
        self.connect = connect

    def replace(self, monkeypatch):
        from msal import msi_v2, msi_v2_attestation

        silent = types.SimpleNamespace(NCryptFreeObject=lambda handle: 0, CertFreeCertificateContext=lambda context: 0)
        for name, replacement in {
            "_load_win32": lambda: {"ncrypt": silent, "crypt32": silent},
            "_open_or_create_keyguard_rsa_key": self.open_key,
            "_ncrypt_export_rsa_public": self.export_public,
            "_ncrypt_sign_pss_sha256": self.sign,
            "_create_cert_context_with_key": lambda win32, der, key, name: (der, None, None),
            "_winhttp_post": lambda win32, url, der, body, headers: self.post(url, der, body, headers),
        }.items():
            monkeypatch.setattr(msi_v2, name, replacement)
        monkeypatch.setattr(msi_v2_attestation, "get_attestation_jwt", lambda **_: ATTESTATION)

    def open_key(self, win32, *, key_name):
        return ctypes.c_void_p(1), ctypes.c_void_p(2), key_name, True

    def export_public(self, win32, key):
        numbers = self.key.public_key().public_numbers()
        return numbers.n, numbers.e

    def sign(self, win32, key, digest):
        pss = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=32)
        return self.key.sign(digest, pss, utils.Prehashed(hashes.SHA256()))

    def post(self, url, certificate, body, headers):
        """Status and body of a POST on a connection that presents the certificate (DER)."""
        answer = self.ask("POST", url, certificate, body, headers)
        return answer.status, answer.read()

    def ask(self, method, url, certificate, body=None, headers=None):
        parts = urllib.parse.urlsplit(url)
        context = ssl.create_default_context(cafile=self.ca_file)
        if certificate:
            self.load(context, certificate)
        connection = http.client.HTTPSConnection(parts.hostname, parts.port, context=context, timeout=ANSWER_SECONDS_MAX)
        connection._create_connection = lambda address, *rest: connect_to(self.connect(*address), *rest)
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        connection.request(method, target, body, headers or {})
        return connection.getresponse()

    def load(self, context, certificate):
        key = self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        pem = x509.load_der_x509_certificate(certificate).public_bytes(serialization.Encoding.PEM)
        with tempfile.NamedTemporaryFile() as file:
            file.write(key + pem)
            file.flush()
            context.load_cert_chain(file.name)


def connect_to(address, timeout=None, source_address=None):
    import socket

    return socket.create_connection(address, timeout, source_address)
