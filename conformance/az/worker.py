"""Runs unmodified az commands, each in a process of its own, forked from this one so that Python and az's modules are
loaded once. Needs nothing but the installation of az whose Python runs it.

Each line of standard input is a request, `{"arguments", "folder", "variables"}`, of which the variables are added to this
process's own; each line of standard output is its `{"status", "output", "words"}`.
"""

import contextlib
import importlib
import json
import os
import runpy
import sys
import tempfile
import traceback

# What the script `az` loads before it looks at its arguments. What that does depends on AZURE_CONFIG_DIR only.
FIRST_MODULE = "azure.cli.core"


def main():
    importlib.import_module(FIRST_MODULE)
    for line in sys.stdin:
        request = json.loads(line)
        with contextlib.ExitStack() as files:
            output, words, loaded = (files.enter_context(tempfile.TemporaryFile()) for _ in range(3))
            status = run(request, output, words, loaded)
            answer = {"status": status, "output": content(output), "words": content(words)}
            print(json.dumps(answer), flush=True)
            load(json.loads(content(loaded) or "[]"))


def run(request, output, words, loaded):
    child = os.fork()
    if child == 0:
        become_az(request, output, words, loaded)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def become_az(request, output, words, loaded):
    """What the script `az` does, `python -m azure.cli`. Never returns."""
    status = 70  # of a failure that az did not see itself
    before = set(sys.modules)
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output.fileno(), 1)
        os.dup2(words.fileno(), 2)
        os.chdir(request["folder"])
        os.environ.update(request["variables"])
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
            loaded.write(json.dumps(sorted(set(sys.modules) - before)).encode())
            loaded.flush()
        os._exit(status)


def load(modules):
    """The next command that needs them finds them here; nothing else of a command stays."""
    for module in modules:
        with contextlib.suppress(Exception):
            importlib.import_module(module)


def content(file):
    file.seek(0)
    return file.read().decode(errors="replace")


if __name__ == "__main__":
    main()
