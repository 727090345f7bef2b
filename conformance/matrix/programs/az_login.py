"""`az login --identity`, and the token that az then gives. Every command is a process of its own, forked from one that has
az's modules loaded (az/worker.py).
"""

import json
import os
import pathlib
import sys
import tempfile

HERE = pathlib.Path(__file__).parent
sys.path.append(str(HERE.parents[1] / "az"))

from azure_cli import Az  # noqa: E402

import questions  # noqa: E402

OPTIONS = {"client_id": "--client-id", "object_id": "--object-id", "resource_id": "--resource-id"}


def main():
    subject = json.loads(pathlib.Path(os.environ["KEYCARD_SUBJECT"]).read_text())
    if "ACC_CLOUD" in os.environ:
        subject["trust"] = {}  # the sandbox has it, and keycard's own files are not there
    with tempfile.TemporaryDirectory() as folder:
        az = Az(subject, folder)

        def acquire(question):
            if question.source == "workload-identity":
                must(az, question, *federated_login(question))
                return token(az, question)
            named = [OPTIONS[question.selector[0]], question.selector[1]] if question.selector else []
            must(az, question, "login", "--identity", "--allow-no-subscriptions", *named)
            return token(az, question)

        questions.answer(acquire)
        az.close()


def federated_login(question):
    """The words of a sign-in with the token of the pod."""
    assertion = pathlib.Path(question.variables["AZURE_FEDERATED_TOKEN_FILE"]).read_text()
    words = ("login", "--service-principal", "--allow-no-subscriptions", "-u", question.selector[1])
    return (*words, "--tenant", question.variables["AZURE_TENANT_ID"], "--federated-token", assertion)


def token(az, question):
    return must(az, question, "account", "get-access-token", "--resource", question.resource)["accessToken"]


def must(az, question, *words):
    """The JSON that the command prints."""
    answer = az.run(*words, variables=question.variables)
    if answer.status:
        raise questions.Refused(f"exit {answer.status}", answer.words)
    return answer.json()


if __name__ == "__main__":
    main()
