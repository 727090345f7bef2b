"""The Azure CLI under test: one installation, and for everybody who uses it a profile of their own."""

import dataclasses
import json
import os
import pathlib
import re
import subprocess

HERE = pathlib.Path(__file__).parent
PROCESS_SECONDS_MAX = 120

# No uploads, no chooser, no words about new versions (specs/az-cli-calls.md, 1.1).
QUIET = {
    "AZURE_CORE_COLLECT_TELEMETRY": "no",
    "AZURE_CORE_LOGIN_EXPERIENCE_V2": "off",
    "AZURE_CORE_NO_COLOR": "true",
    "AZURE_CORE_SURVEY_MESSAGE": "no",
    "AZURE_CORE_AUTO_UPGRADE": "no",
}

# Exit statuses of az.
REFUSED, MISUSED, NOT_FOUND = 1, 2, 3


@dataclasses.dataclass
class Answer:
    command: str
    status: int
    output: str
    words: str

    def __str__(self):
        return f"{self.command} exited {self.status}\n{self.output}{self.words}"

    def json(self):
        return json.loads(self.output) if self.output.strip() else None


class Refusal:
    """What az says of an error: `ERROR: (Code) Message` and what follows, or the body where `az rest` prints it."""

    def __init__(self, answer):
        self.status = answer.status
        self.words = answer.words
        found = re.search(r"^ERROR: \((\w+)\) (.*)$", self.words, re.MULTILINE)
        self.code, self.message = found.groups() if found else rest_error(self.words)

    def __str__(self):
        return f"exit {self.status}: {self.words}"


def rest_error(words):
    """`az rest` prints `ERROR: Forbidden({"error":…})`."""
    found = re.search(r"^ERROR: [^({]*\((\{.*\})\)\s*$", words, re.MULTILINE | re.DOTALL)
    if not found:
        return None, words
    error = json.loads(found[1]).get("error") or {}
    return error.get("code"), error.get("message")


class Az:
    """One user's az: a folder for its profile, and the cloud in which it signs in."""

    def __init__(self, subject, folder, variables=None):
        self.subject = subject
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.environment = environment(subject, self.folder, variables or {})
        self.worker = None
        if not subject["unmodified"]:
            self.register_cloud()

    def register_cloud(self):
        """By the one address that az is told; it reads the others there (specs/az-cli-calls.md, 1.1)."""
        self.must("cloud", "register", "-n", "keycard", "--endpoint-resource-manager", self.subject["resourceManager"])
        self.must("cloud", "set", "-n", "keycard")

    def __call__(self, *arguments):
        """The JSON that a command prints, which must succeed; None where it prints nothing."""
        return self.must(*arguments).json()

    def must(self, *arguments):
        answer = self.run(*arguments)
        assert answer.status == 0, str(answer)
        return answer

    def fails(self, *arguments):
        """The refusal of a command that must fail."""
        answer = self.run(*arguments)
        assert answer.status != 0, f"must fail: {answer}"
        assert "Traceback" not in answer.words, f"az broke off: {answer}"
        return Refusal(answer)

    def run(self, *arguments, variables=None):
        """A command in a fresh process that has az's modules loaded, with these variables besides the user's own."""
        words = [str(argument) for argument in arguments]
        if self.worker is None:
            self.worker = self.start_worker()
        request = {"arguments": words, "folder": str(self.folder), "variables": variables or {}}
        self.worker.stdin.write(json.dumps(request) + "\n")
        self.worker.stdin.flush()
        told = json.loads(self.worker.stdout.readline())
        return Answer(command_line(words), **told)

    def process(self, *arguments):
        """A command as a shell would start it."""
        words = [str(argument) for argument in arguments]
        done = subprocess.run(
            [str(program()), *words],
            env=self.environment,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PROCESS_SECONDS_MAX,
        )
        return Answer(command_line(words), done.returncode, done.stdout, done.stderr)

    def login(self, *arguments):
        """Signs in by a process of its own; what `az login` prints."""
        answer = self.process("login", *arguments)
        assert answer.status == 0, str(answer)
        return answer.json()

    def write(self, name, content):
        """A file in the folder in which commands run; its name, as they are given it."""
        text = content if isinstance(content, str) else json.dumps(content, indent=1)
        (self.folder / name).write_text(text)
        return name

    def start_worker(self):
        return subprocess.Popen(
            [str(program().with_name("python")), str(HERE / "worker.py")],
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def close(self):
        if self.worker is not None:
            self.worker.stdin.close()
            self.worker.wait(PROCESS_SECONDS_MAX)
            self.worker.stdout.close()


def program():
    """The `az` of the installation that ./test has made."""
    return pathlib.Path(os.environ["KEYCARD_AZ"])


def as_application(subject, client_id, secret):
    return ("--service-principal", "-u", client_id, f"-p={secret}", "--tenant", subject["tenantId"])


def command_line(words):
    return " ".join(["az", *words])


def environment(subject, folder, variables):
    own = {"HOME": str(folder), "AZURE_CONFIG_DIR": str(folder / "profile"), **QUIET, **subject["trust"], **variables}
    if not subject["unmodified"]:
        own["AZURE_CORE_INSTANCE_DISCOVERY"] = "false"
        own["PYTHONPATH"] = str(HERE / "names")
        own["LOOPBACK_SUFFIXES"] = " ".join(subject["loopbackSuffixes"])
    return {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", **own}
