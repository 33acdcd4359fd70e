"""`python -m control.archiving`: writes what is in the stream of the prediction log to the archive.

A process of its own, started by the log's: making Parquet takes a core for a while, and the storage's client
is large. Its orders (a Sending, as `settings.sinks` writes it) come by standard input, whose end means: end.
After every look it says how it is doing by standard output, a line of JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys

import msgspec

from control import log
from control.forwarding import RedisRunner
from control.log import note
from control.orders import read_sending
from killswitch.stores.redis_client import RedisClient
from monitoring.log.forwarding.stream import StreamReader
from monitoring.log.wire import Archived
from settings.sinks import Sending

NICENESS = 10
LONGEST_LOOK = 5.0
"""Seconds between two looks; a tenth of `log.archive.every` where that is less."""
PATIENCE = 10.0
"""Seconds for a call to Redis."""

logger = logging.getLogger("pointsman.archive")


async def serve(settings: Sending, ending: asyncio.Event) -> None:
    """Until `ending` is set."""
    from monitoring.log.forwarding.archive import Archive

    if settings.stream is None or settings.archive is None:
        return
    client = RedisClient(
        settings.stream.redis, os.environ, PATIENCE,
        name="the prediction log's stream", key="log.redis.password_env",
    )  # fmt: skip
    reader = StreamReader(RedisRunner(client), settings.stream.name)
    archive = Archive(reader, settings.archive.url, settings.archive.every)
    look = min(LONGEST_LOOK, settings.archive.every / 10)
    files = records = unreadable = failures = waiting = 0
    failure = "the stream is not open yet"
    while not ending.is_set():
        try:
            if failure:
                await archive.open()
            for written in await archive.step():
                files += 1
                records += written.rows
                unreadable += written.unreadable
            waiting, _ = await reader.waiting()
        except Exception as error:  # the storage's clients raise what they like; it is tried again
            failures += 1
            reason = f"{type(error).__name__}: {error}"
            if failure != reason:
                note(logger, logging.ERROR, "the prediction log is not archived", reason=reason)
            failure = reason
        else:
            failure = ""
        try:
            _say(Archived(files, records, unreadable, failures, waiting, failure))
        except BrokenPipeError:  # the log's process is gone, and so is the next one's interest in this one
            break
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ending.wait(), look)
    await reader.close()


def _say(how: Archived) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(how) + b"\n")
    sys.stdout.buffer.flush()


def main() -> int:
    """Run until told to end; the exit status."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.nice(NICENESS)
    log.to_stream()
    settings = read_sending(sys.stdin.fileno())

    async def run() -> None:
        ending = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, ending.set)

        def parent_spoke() -> None:
            if not os.read(sys.stdin.fileno(), 4096):
                loop.remove_reader(sys.stdin.fileno())
                ending.set()

        loop.add_reader(sys.stdin.fileno(), parent_spoke)
        await serve(settings, ending)

    asyncio.run(run())
    return 0


if __name__ == "__main__":
    sys.exit(main())
