"""`python -m control.recording --socket PATH --folder PATH …`: the prediction log's process.

Started by the supervisor, who writes the key that units are hashed with to its standard input; the end of
that means: end.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import uvloop

from control import log
from control.link import bound
from control.log_keeper import LogKeeper
from control.orders import read_sending
from control.sending import Downstream
from domain.errors import ConfigError
from monitoring.log.interpreter import Interpreter
from monitoring.log.writer import Bounds
from settings.sinks import Sending

KEY_SIZE = 32
NICENESS = 5
GRACE = 3.0
"""Seconds in which what has come is still written at the end."""


async def serve(socket_path: str, folder: Path, bounds: Bounds, key: bytes, sending: Sending) -> None:
    """Keep the log until SIGTERM, or the end of standard input. Raises ConfigError for a bad socket path."""
    loop = asyncio.get_running_loop()
    ending = asyncio.Event()
    listening = bound(socket_path)
    downstream = Downstream(sending, os.environ, monotonic=time.monotonic)
    keeper = LogKeeper(
        folder, bounds, Interpreter(key), wall=time.time, monotonic=time.monotonic,
        sinks=downstream.sinks, more=downstream.told, kept=downstream.kept,
    )  # fmt: skip
    loop.add_signal_handler(signal.SIGTERM, ending.set)

    def supervisor_spoke() -> None:
        if not os.read(sys.stdin.fileno(), 4096):
            loop.remove_reader(sys.stdin.fileno())
            ending.set()

    loop.add_reader(sys.stdin.fileno(), supervisor_spoke)
    await keeper.open(listening)
    downstream.open(keeper.trail)
    await ending.wait()
    await asyncio.gather(keeper.close(GRACE), downstream.end())
    await downstream.close()


def main(arguments: list[str] | None = None) -> int:
    """Run until told to end; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m control.recording", description=__doc__)
    parser.add_argument("--socket", required=True, help="path of the unix socket that workers connect to")
    parser.add_argument("--folder", required=True, type=Path, help="the log's folder")
    parser.add_argument("--keep", required=True, type=float, help="seconds that records are kept")
    parser.add_argument("--most", required=True, type=int, help="bytes of all of it")
    parser.add_argument("--roll", required=True, type=float, help="seconds until a segment becomes Parquet")
    parser.add_argument("--sends", action="store_true", help="where to is told after the key")
    given = parser.parse_args(arguments)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.nice(NICENESS)  # clients first
    log.to_stream()
    key = os.read(sys.stdin.fileno(), KEY_SIZE)
    try:
        orders = read_sending(sys.stdin.fileno()) if given.sends else Sending()
        bounds = Bounds(given.keep, given.most, given.roll)
        uvloop.run(serve(given.socket, given.folder, bounds, key, orders))
    except ConfigError as error:
        print(f"log: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
