"""msal.ManagedIdentityClient; run with another Python, that of the package msal-msiv2."""

import msal
import requests

import questions


def acquire(question):
    named = question.selector
    identity = msal.UserAssignedManagedIdentity(**dict([named])) if named else msal.SystemAssignedManagedIdentity()
    with requests.Session() as session:
        client = msal.ManagedIdentityClient(identity, http_client=session)
        answer = client.acquire_token_for_client(resource=question.resource)
    if "access_token" not in answer:
        raise questions.Refused(answer["error"], answer.get("error_description"))
    return answer["access_token"]


if __name__ == "__main__":
    questions.answer(acquire)
