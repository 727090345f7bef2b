"""Lets every Python process that finds this folder in PYTHONPATH resolve the names below the suffixes in LOOPBACK_SUFFIXES,
which mean this machine and which plain glibc does not know. Nothing else of a program changes.
"""

import os
import socket

SUFFIXES = tuple(f".{suffix}" for suffix in os.environ.get("LOOPBACK_SUFFIXES", "").split())

system_lookup = socket.getaddrinfo


def lookup(host, *arguments, **options):
    name = host.decode() if isinstance(host, bytes) else host
    return system_lookup("127.0.0.1" if name and name.endswith(SUFFIXES) else host, *arguments, **options)


if SUFFIXES:
    socket.getaddrinfo = lookup
