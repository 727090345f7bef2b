"""A network namespace in which unmodified URLs lead to keycard: 169.254.169.254 on loopback, Azure's names in the hosts file.

Nothing else is reachable from it, which also proves that a suite needs no outside network. The metadata address is never
asked for outside such a namespace: the machine that runs the tests may have a real one.
"""

import contextlib
import os
import pathlib
import secrets
import subprocess

FIXED_NAMES = (
    "localhost",
    "management.azure.com",
    "login.microsoftonline.com",
    "sts.windows.net",
    "graph.microsoft.com",
    "management.keycard.localhost",
    "login.keycard.localhost",
    "graph.keycard.localhost",
)


def host_names(vaults):
    return [*FIXED_NAMES, *(f"{vault}.{suffix}" for vault in vaults for suffix in ("vault.azure.net", "vault.keycard.localhost"))]


@contextlib.contextmanager
def entered(names):
    """Yields the words to put before a command so that it runs inside; removes all traces afterwards."""
    name = f"kc-conf-{os.getpid()}-{secrets.token_hex(3)}"
    files = pathlib.Path("/etc/netns") / name
    try:
        subprocess.run(["ip", "netns", "add", name], check=True)
        ip = ["ip", "-n", name]
        subprocess.run([*ip, "link", "set", "lo", "up"], check=True)
        subprocess.run([*ip, "address", "add", "169.254.169.254/32", "dev", "lo"], check=True)
        files.mkdir(parents=True)
        (files / "hosts").write_text("".join(f"127.0.0.1 {host}\n" for host in names))
        (files / "resolv.conf").write_text("")
        yield ["ip", "netns", "exec", name]
    finally:
        remove(name, files)


def cover_arc_directory():
    """Inside, clients and server find the directory of Arc's challenges, and this machine's own one is left alone."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", "/var/opt"], check=True)


def remove(name, files):
    subprocess.run(["ip", "netns", "delete", name], check=False)
    for file in files.glob("*"):
        file.unlink()
    with contextlib.suppress(OSError):  # another suite may hold a namespace at the same time
        files.rmdir()
        files.parent.rmdir()
