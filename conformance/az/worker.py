"""Runs unmodified az commands, each in a process of its own, forked from this one so that Python and az's modules are loaded
once. Needs nothing but the installation of az whose Python runs it.

Each line of standard input is a request, `{"arguments", "folder"}`; each line of standard output is its
`{"status", "output", "words"}`.
"""

import contextlib
import importlib
import json
import os
import runpy
import sys
import tempfile
import traceback

# Loaded beforehand, because nearly every command loads them. What they do when loaded depends on AZURE_CONFIG_DIR only.
MODULES = (
    "azure.cli.core",
    "azure.cli.core.aaz",
    "azure.cli.core.auth.identity",
    "azure.cli.core.commands.arm",
    "azure.cli.core.commands.client_factory",
    "azure.cli.core.profiles",
    "azure.mgmt.core",
    "msal",
    "requests",
)


def main():
    for module in MODULES:
        importlib.import_module(module)
    for line in sys.stdin:
        request = json.loads(line)
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as words:
            status = run(request, output, words)
            answer = {"status": status, "output": content(output), "words": content(words)}
        print(json.dumps(answer), flush=True)


def run(request, output, words):
    child = os.fork()
    if child == 0:
        become_az(request, output, words)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def become_az(request, output, words):
    """What the script `az` does, `python -m azure.cli`. Never returns."""
    status = 70  # of a failure that az did not see itself
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output.fileno(), 1)
        os.dup2(words.fileno(), 2)
        os.chdir(request["folder"])
        sys.argv = ["az", *request["arguments"]]
        runpy.run_module("azure.cli", run_name="__main__", alter_sys=True)
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def content(file):
    file.seek(0)
    return file.read().decode(errors="replace")


if __name__ == "__main__":
    main()
