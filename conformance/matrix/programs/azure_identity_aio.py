"""azure.identity.aio.ManagedIdentityCredential, which reads answers by itself and sends the keys of `identity_config` as
they are: a resource id has the name that the endpoint documents.
"""

import asyncio

from azure.identity.aio import ManagedIdentityCredential, WorkloadIdentityCredential

import questions

RESOURCE_ID_NAMES = {
    "app-service": "mi_res_id",
    # These document none; the client knows this one and refuses it.
    "cloud-shell": "resource_id",
    "service-fabric": "resource_id",
}


def acquire(question):
    federated = question.source == "workload-identity"
    kind = WorkloadIdentityCredential if federated else ManagedIdentityCredential

    async def token():
        async with kind(**options(question.source, question.selector)) as credential:
            return (await credential.get_token(f"{question.resource}/.default")).token

    return asyncio.run(token())


def options(source, selector):
    match selector:
        case None:
            return {}
        case ["client_id", value]:
            return {"client_id": value}
        case ["resource_id", value]:
            return {"identity_config": {RESOURCE_ID_NAMES.get(source, "msi_res_id"): value}}
        case [name, value]:
            return {"identity_config": {name: value}}


if __name__ == "__main__":
    questions.answer(acquire)
