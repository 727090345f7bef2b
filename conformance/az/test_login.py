"""Signing in and what az then knows of the account. Source: specs/az-cli-calls.md, 3.1."""

import jwt
import pytest

MANAGEMENT = "https://management.core.windows.net/"


def claims(token):
    return jwt.decode(token, options={"verify_signature": False})


def test_a_secret_signs_in(subject, new_az):
    administrator = subject["administrator"]
    (account,) = new_az().login(
        "--service-principal",
        "-u",
        administrator["clientId"],
        f"-p={administrator['clientSecret']}",
        "--tenant",
        subject["tenantId"],
    )
    assert account["id"] == subject["subscriptionId"]
    assert account["tenantId"] == subject["tenantId"]
    assert account["state"] == "Enabled"
    assert account["user"] == {"name": administrator["clientId"], "type": "servicePrincipal"}
