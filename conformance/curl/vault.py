"""A vault by plain requests: paths below its URL, a bearer token or none."""

import asking

API_VERSION = "7.4"


class Vault:
    def __init__(self, described):
        self.url = described["url"]

    def ask(self, path, token, *arguments, query=f"api-version={API_VERSION}"):
        authorization = asking.bearer(token) if token else ()
        return asking.curl(f"{self.url}{path}?{query}", *authorization, *arguments)

    def put(self, name, document, token):
        return self.ask(f"/secrets/{name}", token, *asking.json_body("PUT", document))

    def patch(self, path, document, token):
        return self.ask(path, token, *asking.json_body("PATCH", document))


def assert_challenge(answer, subject, vault, fault=""):
    """Source: Microsoft Learn, "Authentication, requests and responses" (Key Vault); specs/data-planes.md, 2.1."""
    assert answer.status == 401, answer
    assert answer.json()["error"]["code"] == "Unauthorized"
    domain = vault.url.split("//")[1].split(".", 1)[1]
    wanted = f'Bearer authorization="{subject["authority"]}/{subject["tenantId"]}", resource="https://{domain}"{fault}'
    assert answer.headers["www-authenticate"] == wanted


def assert_token_refused(answer, subject, vault):
    """RFC 6750, section 3.1: whoever brought a token hears that it is the fault."""
    assert_challenge(answer, subject, vault, fault=', error="invalid_token"')


def assert_error(answer, status, code, inner=None):
    assert answer.status == status, answer
    error = answer.json()["error"]
    assert error["code"] == code
    assert error["message"]
    if inner:
        assert error["innererror"]["code"] == inner
