"""An issuer of workloads' tokens on this machine, as a cluster or a build pipeline has one: discovery, keys, tokens.

Source: OpenID Connect Discovery 1.0, section 4; Kubernetes, "Service account issuer discovery".
"""

import http.server
import json
import threading
import time

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

AUDIENCE = "api://AzureADTokenExchange"
KEY_ID = "conformance"


class Issuer:
    def __init__(self):
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self.handler())
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def handler(self):
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                page = issuer.pages().get(self.path)
                body = json.dumps(page).encode()
                self.send_response(200 if page else 404)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        return Handler

    def pages(self):
        key = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key()))
        return {
            "/.well-known/openid-configuration": {"issuer": self.url, "jwks_uri": f"{self.url}/keys"},
            "/keys": {"keys": [{**key, "use": "sig", "kid": KEY_ID}]},
        }

    def token(self, subject, **claims):
        """A token as a projected volume of Kubernetes has it; `aud` is a list there."""
        now = int(time.time())
        whole = {"iss": self.url, "sub": subject, "aud": [AUDIENCE], "iat": now, "nbf": now, "exp": now + 3600, **claims}
        return jwt.encode(whole, self.key, algorithm="RS256", headers={"kid": KEY_ID})

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
