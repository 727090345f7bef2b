"""One `keycard up` for one suite: started in a home of its own, on ports of its own, stopped cleanly.

KEYCARD_BINARY names the program; without it the dev build of this repository is taken.
"""

import contextlib
import json
import os
import pathlib
import select
import subprocess
import time

import certificate
from story import LINK_LOCAL_VM

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
READY_SECONDS_MAX = 30
STOP_SECONDS_MAX = 10
LOG_TAIL_LINES = 40


class Failed(Exception):
    """The server did not do what contract.md promises of the process itself."""


class Keycard:
    def __init__(self, process, home, log, administrator_pem):
        self.process = process
        self.home = home
        self.log = log
        self.administrator_pem = administrator_pem
        self.ready = None

    def await_ready(self):
        """Reads the one line of JSON that `up` prints when everything answers."""
        deadline = time.monotonic() + READY_SECONDS_MAX
        line = b""
        while not line.endswith(b"\n"):
            readable, _, _ = select.select([self.process.stdout], [], [], max(0, deadline - time.monotonic()))
            chunk = os.read(self.process.stdout.fileno(), 65536) if readable else b""
            if not chunk:
                self.print_log_tail()
                raise Failed("keycard up printed no ready line; its log is above")
            line += chunk
        self.ready = json.loads(line)

    def command(self, *arguments):
        """A client command of the same binary; its JSON."""
        done = subprocess.run(
            [binary(), *arguments, "--output", "json"], env=own_environment(self.home), capture_output=True, text=True
        )
        if done.returncode:
            raise Failed(f"keycard {' '.join(arguments)} exited {done.returncode}: {done.stderr.strip()}")
        return json.loads(done.stdout)

    def stop(self):
        self.process.terminate()
        try:
            status = self.process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise Failed(f"keycard up still ran {STOP_SECONDS_MAX} s after SIGTERM") from None
        if status:
            self.print_log_tail()
            raise Failed(f"keycard up exited {status} after SIGTERM instead of 0")

    def check_log(self, secrets):
        """No token, secret or password appears in any log (specs/data-planes.md, section 10, number 7)."""
        text = self.log.read_text(errors="replace")
        shown = [name for name, secret in secrets.items() if secret in text]
        if shown:
            raise Failed(f"the server's log shows {', '.join(shown)}")

    def print_log_tail(self):
        lines = self.log.read_text(errors="replace").splitlines()
        words = [line for line in lines if "TRACE" not in line and "DEBUG" not in line]
        print("---- the server's last words", *words[-LOG_TAIL_LINES:], "----", sep="\n", flush=True)


def binary():
    return os.environ.get("KEYCARD_BINARY", str(REPOSITORY / "target" / "debug" / "keycard"))


def own_environment(home):
    """Everything is logged, so that `check_log` sees all that any level would show."""
    return {"KEYCARD_HOME": str(home), "KEYCARD_LOG": "trace", "PATH": os.environ["PATH"], "HOME": str(home)}


@contextlib.contextmanager
def running(directory, in_namespace):
    home, log = directory / "home", directory / "log"
    home.mkdir()
    public, private = certificate.make(directory)
    arguments = ["up", "--output", "json", "--administrator-certificate", str(public), "--allow-local-issuers"]
    if in_namespace:
        arguments += ["--port", "443", "--issuer", "azure", "--link-local", LINK_LOCAL_VM]
    else:
        arguments += ["--port", "0"]
    with log.open("wb") as words:
        process = subprocess.Popen(
            [binary(), *arguments],
            env=own_environment(home),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=words,
        )
    keycard = Keycard(process, home, log, private)
    try:
        keycard.await_ready()
        yield keycard
    except BaseException:
        process.kill()
        process.wait()
        raise
    keycard.stop()
