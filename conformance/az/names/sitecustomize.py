"""Lets every Python process that finds this folder in PYTHONPATH resolve names below keycard.localhost, which plain glibc does
not. Nothing else of a program changes.
"""

import socket

SUFFIX = ".keycard.localhost"

system_lookup = socket.getaddrinfo


def lookup(host, *arguments, **options):
    name = host.decode() if isinstance(host, bytes) else host
    return system_lookup("127.0.0.1" if name and name.endswith(SUFFIX) else host, *arguments, **options)


socket.getaddrinfo = lookup
