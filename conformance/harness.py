"""Starts a keycard, tells it the story of story.py, and runs one suite against it.

    harness.py [--namespace] [--as vm|site] -- COMMAND...

COMMAND finds the path of the subject (what exists, where, under which names: subject.py) in KEYCARD_SUBJECT. The exit
status is COMMAND's, or 1 when the server did not start, did not stop cleanly, or could not be told the story.
"""

import argparse
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile

import namespace
import server
import story
import subject


def parse_arguments(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--namespace", action="store_true", help="unmodified URLs, in a network namespace of its own")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--as", dest="resource", choices=("vm", "site"), help="give COMMAND that resource's variables")
    parser.add_argument("command", nargs="+")
    return parser.parse_args(arguments)


def main():
    options = parse_arguments(sys.argv[1:])
    # A stop by signal must pass through the `finally` blocks: they end the server and the namespace.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(143))
    if options.namespace and not options.inside:
        again = [sys.executable, __file__, "--inside", *sys.argv[1:]]
        with namespace.entered(namespace.host_names((*story.VAULTS, *story.FREE_VAULT_NAMES))) as enter:
            return subprocess.call([*enter, *again])
    if options.inside:
        namespace.cover_arc_directory()
    directory = pathlib.Path(tempfile.mkdtemp(prefix="keycard-conformance-"))
    try:
        return run(options, directory)
    finally:
        shutil.rmtree(directory)


def run(options, directory):
    with server.running(directory, in_namespace=options.namespace) as keycard:
        told = story.tell(keycard.ready)
        described = subject.describe(keycard, told, in_namespace=options.namespace)
        path = directory / "subject.json"
        path.write_text(json.dumps(described, indent=1))
        variables = subject.environment(os.environ, described, options.resource)
        status = subprocess.call(options.command, env={**variables, "KEYCARD_SUBJECT": str(path)})
        keycard.check_log(subject.never_logged(described))
        if status:
            keycard.print_log_tail()
        return status


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (server.Failed, story.Failed) as failure:
        print(f"conformance: {failure}", file=sys.stderr)
        sys.exit(1)
