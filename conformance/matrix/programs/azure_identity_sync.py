"""azure.identity.ManagedIdentityCredential, which wraps msal, and WorkloadIdentityCredential."""

from azure.identity import ManagedIdentityCredential, WorkloadIdentityCredential

import questions


def acquire(question):
    federated = question.source == "workload-identity"
    kind = WorkloadIdentityCredential if federated else ManagedIdentityCredential
    with kind(**options(question.selector)) as credential:
        return credential.get_token(f"{question.resource}/.default").token


def options(selector):
    match selector:
        case None:
            return {}
        case ["client_id", value]:
            return {"client_id": value}
        case [name, value]:
            return {"identity_config": {name: value}}


if __name__ == "__main__":
    questions.answer(acquire)
