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
    with tempfile.TemporaryDirectory() as folder:
        az = Az(subject, folder)

        def acquire(question):
            named = [OPTIONS[question.selector[0]], question.selector[1]] if question.selector else []
            must(az, question, "login", "--identity", "--allow-no-subscriptions", *named)
            return must(az, question, "account", "get-access-token", "--resource", question.resource)["accessToken"]

        questions.answer(acquire)
        az.close()


def must(az, question, *words):
    """The JSON that the command prints."""
    answer = az.run(*words, variables=question.variables)
    if answer.status:
        raise questions.Refused(f"exit {answer.status}", answer.words)
    return answer.json()


if __name__ == "__main__":
    main()
