"""The commands of Microsoft's documentation, in curl/ by source. curl's own configuration adds what they leave open: that the
status is told after the body, and where the metadata address leads to.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import urllib.parse

HERE = pathlib.Path(__file__).parent
ANSWER_SECONDS_MAX = 20

# How each source documents the parameter; `msi_res_id` where none is given.
NAMES = {
    "app-service": {"object_id": "principal_id", "resource_id": "mi_res_id"},
    "app-service-2017": {"client_id": "clientid"},
}

def main():
    for line in sys.stdin:
        question = json.loads(line)
        with tempfile.TemporaryDirectory() as directory:
            print(json.dumps(ask(question, pathlib.Path(directory))), flush=True)


def ask(question, directory):
    configuration = ['write-out = "\\n%{http_code}"', f"max-time = {ANSWER_SECONDS_MAX}"]
    if endpoint := os.environ.get("METADATA_ENDPOINT"):
        authority = urllib.parse.urlsplit(endpoint).netloc
        configuration.append(f'connect-to = "169.254.169.254:80:{authority}"')
    (directory / ".curlrc").write_text("\n".join(configuration))
    words = {"RESOURCE": urllib.parse.quote(question["resource"], safe=""), "SELECTOR": ""}
    if question["selector"]:
        name, value = question["selector"]
        words["CLIENT_ID"] = value
        words["SELECTOR"] = f"&{parameter(question['source'], name)}={urllib.parse.quote(value, safe='')}"
    command = ["bash", str(HERE / "curl" / f"{question['source']}.sh")]
    variables = {**os.environ, **words, "CURL_HOME": str(directory)}
    done = subprocess.run(command, env=variables, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    body, _, status = done.stdout.rpartition("\n")
    if status != "200":
        return {"refusal": status or f"exit {done.returncode}", "words": body or done.stderr}
    return {"token": json.loads(body)["access_token"]}


def parameter(source, name):
    return NAMES.get(source, {}).get(name) or {"resource_id": "msi_res_id"}.get(name, name)


if __name__ == "__main__":
    main()
