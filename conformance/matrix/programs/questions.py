"""How the Python programs are asked: each line of standard input is `{"source", "resource", "selector", "variables"}`, each
line of standard output `{"token"}` or `{"refusal", "words"}`.
"""

import json
import os
import sys
import types


def answer(acquire):
    """Until the input ends; `acquire(question)` gives a token or raises. The variables are added to the process's own."""
    own = dict(os.environ)
    for line in sys.stdin:
        question = types.SimpleNamespace(**json.loads(line))
        os.environ.clear()
        os.environ.update({**own, **question.variables})
        try:
            told = {"token": acquire(question)}
        except Exception as error:  # whatever a client raises is its refusal, and its name is on the page
            told = {"refusal": name(error), "words": str(error)}
        print(json.dumps(told), flush=True)


class Refused(Exception):
    """A refusal that the client returns instead of raising; `name` is the error code it returns."""

    def __init__(self, name, words):
        super().__init__(words)
        self.name = name


def name(error):
    return error.name if isinstance(error, Refused) else type(error).__name__
