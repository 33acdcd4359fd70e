"""Ports for servers that have to be told theirs: free, and free again after a restart.

They lie below those that the system gives to outgoing connections and to port 0 (from 32 768 on), so that no
connection of another test takes one between the question and the server's start, or while the server is down.
None is given twice.
"""

from __future__ import annotations

import random
import socket

LOWEST, HIGHEST = 12_000, 32_000

_given: set[int] = set()


def free_port() -> int:
    """One that nobody listens on, at any address."""
    for port in random.SystemRandom().sample(range(LOWEST, HIGHEST), 1_000):
        if port in _given:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
        _given.add(port)
        return port
    raise AssertionError("no port is free")
