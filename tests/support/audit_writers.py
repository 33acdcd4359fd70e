"""Processes that append to an audit chain and are killed at it.

One process has everything loaded, and forks the writers: a writer begins in milliseconds.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parents[2]


class Writers:
    """Writers to the database at `url`."""

    def __init__(self, url: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.audit_writers", url],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def __enter__(self) -> Writers:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(60)

    def kill_after(self, acknowledged: int, seconds: float, number: int) -> int:
        """Start a writer that begins with `number` and kill it so many seconds after it acknowledged so many;
        the last number it acknowledged, or -1."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{number}\n")
        self._process.stdin.flush()
        writer = int(self._process.stdout.readline())
        assert self._process.stdout.readline() == "ready\n"
        last = -1
        for _ in range(acknowledged):
            last = int(self._process.stdout.readline()[1:-2])
        time.sleep(seconds)
        os.kill(writer, signal.SIGKILL)
        while (line := self._process.stdout.readline()) != "gone\n":
            # The kill may cut a line; what was not told whole was not acknowledged.
            if line.startswith("+") and line.endswith(".\n"):
                last = int(line[1:-2])
        return last


def _write(url: str, number: int) -> None:
    from audit import store
    from storage.database import Database
    from tests.support.histories import endpoint, tripped

    os.write(1, b"%d\n" % os.getpid())
    database = Database.open(url, 60)
    os.write(1, b"ready\n")
    while True:
        events = [endpoint("rain", number, number % 9), tripped("rain", number, f"k{number}")]
        database.write(partial(store.append, events=events))
        os.write(1, b"+%d.\n" % number)
        number += 1


def _main(url: str) -> None:
    import asyncpg  # loaded before the fork  # noqa: F401
    import sqlalchemy.ext.asyncio  # noqa: F401

    import tests.support.histories  # noqa: F401

    for line in sys.stdin:
        writer = os.fork()
        if writer == 0:
            _write(url, int(line))
        os.waitpid(writer, 0)
        os.write(1, b"\ngone\n")


if __name__ == "__main__":
    _main(sys.argv[1])
