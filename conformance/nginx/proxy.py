"""An orders service that tells what it was asked, and nginx in front of it with the configuration of orders.conf."""

import contextlib
import http.server
import json
import pathlib
import socket
import subprocess
import time

CONFIGURATION = pathlib.Path(__file__).with_name("orders.conf")
START_SECONDS_MAX = 10

# One process, in a directory of its own, with the rights of whoever runs the tests.
MAIN = """
daemon off;
master_process off;
pid {directory}/pid;
error_log stderr warn;
events {{}}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    include {directory}/orders.conf;
}}
"""


class Orders(http.server.BaseHTTPRequestHandler):
    """Answers with the request, and keeps it."""

    def answer(self):
        length = int(self.headers.get("Content-Length", 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        seen = {"method": self.command, "path": self.path, "headers": headers, "body": self.rfile.read(length).decode()}
        self.server.seen.append(seen)
        body = json.dumps(seen).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_DELETE = answer

    def log_message(self, *_):
        pass


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@contextlib.contextmanager
def nginx(directory, **places):
    """Runs nginx with orders.conf, in which each place of the example is put in the test's own."""
    text, port = CONFIGURATION.read_text(), free_port()
    for example, own in {"listen 127.0.0.1:8080": f"listen 127.0.0.1:{port}", **places}.items():
        assert example in text, example
        text = text.replace(example, own)
    (directory / "orders.conf").write_text(text)
    main, log = directory / "nginx.conf", directory / "log"
    main.write_text(MAIN.format(directory=directory))
    with log.open("wb") as words:
        process = subprocess.Popen(["nginx", "-p", str(directory), "-c", str(main), "-e", "stderr"], stderr=words)
    try:
        await_port(process, port, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def await_port(process, port, log):
    deadline = time.monotonic() + START_SECONDS_MAX
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        assert process.poll() is None and time.monotonic() < deadline, log.read_text()
        time.sleep(0.02)
