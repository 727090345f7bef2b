"""The vendor's three Python clients of a managed identity endpoint, each behind the same function.

They are three programs, not one: azure.identity wraps msal, azure.identity.aio has a parser of its own, and msal is used
directly by the Azure CLI.
"""

import asyncio

import azure.identity
import azure.identity.aio
import jwt
import msal
import requests

# Name of the selector as each environment documents it, which azure.identity.aio sends as it is.
RESOURCE_ID_NAMES = {"imds": "msi_res_id", "app-service": "mi_res_id", "arc": "msi_res_id"}


class Refused(Exception):
    """What a client says when the endpoint gives no token."""


def sync(resource, selector, kind):
    try:
        with azure.identity.ManagedIdentityCredential(**sync_options(selector)) as credential:
            return credential.get_token(f"{resource}/.default").token
    except azure.identity.CredentialUnavailableError as error:
        raise Refused(str(error)) from error


def sync_options(selector):
    match selector:
        case None:
            return {}
        case ("client_id", value):
            return {"client_id": value}
        case (name, value):
            return {"identity_config": {name: value}}


def aio(resource, selector, kind):
    async def acquire():
        options = aio_options(selector, kind)
        async with azure.identity.aio.ManagedIdentityCredential(**options) as credential:
            return (await credential.get_token(f"{resource}/.default")).token

    try:
        return asyncio.run(acquire())
    except (azure.identity.CredentialUnavailableError, azure.core.exceptions.ClientAuthenticationError) as error:
        raise Refused(str(error)) from error


def aio_options(selector, kind):
    match selector:
        case ("resource_id", value):
            return {"identity_config": {RESOURCE_ID_NAMES[kind]: value}}
        case _:
            return sync_options(selector)


def msal_client(resource, selector, kind):
    identity = (
        msal.UserAssignedManagedIdentity(**dict([selector])) if selector else msal.SystemAssignedManagedIdentity()
    )
    client = msal.ManagedIdentityClient(identity, http_client=requests.Session())
    answer = client.acquire_token_for_client(resource=resource)
    if "access_token" not in answer:
        raise Refused(f"{answer.get('error')}: {answer.get('error_description')}")
    return answer["access_token"]


ALL = {"azure-identity": sync, "azure-identity-aio": aio, "msal": msal_client}


def claims(token):
    """What the token says; its signature is the matter of test_token_verification.py."""
    return jwt.decode(token, options={"verify_signature": False})
