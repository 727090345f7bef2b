"""msal.ManagedIdentityClient, and at Cloud Shell msal.PublicClientApplication; run with another Python, that of the package
msal-msiv2.
"""

import msal
import requests

import questions


# az's own client id, as msal's documentation has it.
PUBLIC_CLIENT = "04b07795-8ddb-461a-bbee-02f9e1bf7b46"


def acquire(question):
    answer = of_cloud_shell(question) if question.source == "cloud-shell" else of_managed_identity(question)
    if "access_token" not in answer:
        raise questions.Refused(answer["error"], answer.get("error_description"))
    return answer["access_token"]


def of_managed_identity(question):
    named = question.selector
    identity = msal.UserAssignedManagedIdentity(**dict([named])) if named else msal.SystemAssignedManagedIdentity()
    with requests.Session() as session:
        client = msal.ManagedIdentityClient(identity, http_client=session)
        return client.acquire_token_for_client(resource=question.resource)


def of_cloud_shell(question):
    """Without a question to anybody: this client asks the shell's own endpoint."""
    client = msal.PublicClientApplication(PUBLIC_CLIENT)
    return client.acquire_token_interactive([f"{question.resource}/.default"], prompt="none")


if __name__ == "__main__":
    questions.answer(acquire)
