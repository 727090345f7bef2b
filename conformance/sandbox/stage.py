"""A keycard of root's or of an ordinary user's, and programs that run in its sandboxes with no variable set."""

import json
import os
import pathlib
import secrets
import shutil
import subprocess
import sys

import server

HERE = pathlib.Path(__file__).resolve().parent
ORDINARY = 54321  # a user that nothing belongs to
SECONDS_MAX = 60


class Stage:
    def __init__(self, directory, user):
        self.directory = directory
        self.user = user
        self.greeting = secrets.token_urlsafe(12)
        directory.chmod(0o755)
        for file in (HERE / "programs").iterdir():
            shutil.copy(file, directory)
        # Where Node looks for packages without being told.
        (directory / "node_modules").symlink_to(os.environ["NODE_PATH"])
        self.home = directory / "home"
        self.home.mkdir()
        os.chown(self.home, user, user)
        template, parameters = directory / "template.json", directory / "parameters.json"
        shutil.copy(HERE / "template.json", template)
        parameters.write_text(json.dumps({"greeting": {"value": self.greeting}}))
        words = ["up", "--port", "0", "--output", "json", "--template", template, "--parameters", parameters]
        self.log = (directory / "log").open("wb")
        self.up = self.start([server.binary(), *words], stdout=subprocess.PIPE, stderr=self.log)
        line = self.up.stdout.readline()
        assert line, f"keycard up did not start: {(directory / 'log').read_text()}"
        self.ready = json.loads(line)

    def start(self, command, **options):
        """A process of the stage's user with the variables of a bare login and no other."""
        if os.geteuid() != self.user:
            options |= {"user": self.user, "group": self.user, "extra_groups": []}
        environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(self.home)}
        return subprocess.Popen(command, cwd=self.directory, env=environment, stdin=subprocess.DEVNULL, **options)

    def run(self, *command, resource="worker", options=()):
        """The exit status of a command in a sandbox, and what it says on each stream."""
        words = [server.binary(), "run", "--as", resource, *options, "--", *command]
        process = self.start(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        out, error = process.communicate(timeout=SECONDS_MAX)
        return process.returncode, out.decode().strip(), error.decode().strip()

    def stop(self):
        self.up.terminate()
        status = self.up.wait(server.STOP_SECONDS_MAX)
        self.log.close()
        assert status == 0, f"keycard up exited {status}"


def python():
    """An interpreter with the vendor's packages that every user may start."""
    return os.environ.get("KEYCARD_SANDBOX_PYTHON", sys.executable)


def users():
    return {"root": 0, "ordinary": ORDINARY} if os.geteuid() == 0 else {"ordinary": os.geteuid()}
