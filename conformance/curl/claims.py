"""Reading and spoiling JSON Web Tokens without a library, so that the suite can write what no library would."""

import base64
import json


def encode(part):
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decode(part):
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def header(token):
    return json.loads(decode(token.split(".")[0]))


def claims(token):
    return json.loads(decode(token.split(".")[1]))


def unsigned(token):
    """The same claims under `alg: none` (RFC 7519, section 6)."""
    return f"{encode({'typ': 'JWT', 'alg': 'none'})}.{token.split('.')[1]}."


def with_claims(token, **changed):
    """Other claims under the old signature."""
    head, _, signature = token.split(".")
    return f"{head}.{encode({**claims(token), **changed})}.{signature}"


def with_foreign_signature(token, key, **changed):
    """The same header, key id included, and a signature by a key the issuer does not know."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    signed = f"{token.split('.')[0]}.{encode({**claims(token), **changed})}"
    return f"{signed}.{encode(key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"
