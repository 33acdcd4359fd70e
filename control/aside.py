"""Where pairs are compared that could hold the loop up: in a process of its own.

A thread would not do. Parsing eight megabytes is one call into C that no other thread can interrupt, and the
garbage of it is collected for all of them. In a process of its own a hostile answer costs nobody else time or
memory; one that takes longer than `PATIENCE`, or kills the process, is told as a fault, and the next pair
finds a new process. It is started when it is first needed, and ends with the pipe to it.

`python -m control.aside` is that process: frames as in `shadow.wire` on its standard input and output.
"""

from __future__ import annotations

import asyncio
import os
import signal
import struct
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import BinaryIO

import msgspec
import numpy as np

from comparators.comparison import Comparison
from control.compared import Columns, Compared, Features, Found, Wanted, features_of, found_in, joined
from domain.observation import Pair
from domain.routing import Arm
from settings.schema import CompareSettings

PATIENCE = 20.0
"""Seconds for one batch. Within the comparators' own limits a pair takes some seconds at worst."""

NICENESS = 5
"""Added to the control process's: kills and health checks go first."""

_LENGTH = struct.Struct(">I")
_PIECE = 256 * 1024
"""Bytes that are written at once: whoever writes more holds the loop up."""


class Order(msgspec.Struct, frozen=True, array_like=True):
    """What to compare, how, and which features to read: those of a Comparison, and of `Wanted`."""

    protocol: str
    settings: CompareSettings
    cohorts: tuple[str, ...]
    watched: tuple[str, ...] | None
    pairs: list[Pair]


class Findings(msgspec.Struct, frozen=True, array_like=True):
    """What was found: see `Compared`."""

    found: list[Found]
    unreadable: list[Arm]
    features: dict[int, tuple[dict[str, list[float]], dict[str, list[float]]]]


_encoder = msgspec.msgpack.Encoder()
_orders = msgspec.msgpack.Decoder(Order)
_findings = msgspec.msgpack.Decoder(Findings)


class Aside:
    """One process, one order at a time. `faults` counts the orders that had no answer."""

    def __init__(self, patience: float = PATIENCE) -> None:
        self.faults = 0
        self._patience = patience
        self._process: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()

    async def compare(
        self, protocol: str, settings: CompareSettings, wanted: Wanted, pairs: Sequence[Pair]
    ) -> Compared:
        """As `control.compared.compare`. Pairs that could not be compared for want of time are faults."""
        order = _encoder.encode(Order(protocol, settings, *wanted, list(pairs)))
        async with self._turn:
            try:
                async with asyncio.timeout(self._patience):
                    answer = await self._ask(order)
            except (OSError, TimeoutError, EOFError, msgspec.MsgspecError) as error:
                await self._end()
                self.faults += 1
                slow = isinstance(error, TimeoutError)
                why = f"took longer than {self._patience:g} s" if slow else f"failed ({error or 'it ended'})"
                lost = [Found(None, f"comparing {why}", None) for _ in pairs]
                return joined(pairs, lost, [], {})
        features = {
            index: Features(_arrays(cohorts), _arrays(watched))
            for index, (cohorts, watched) in answer.features.items()
        }
        return joined(pairs, answer.found, answer.unreadable, features)

    async def close(self) -> None:
        """End the process."""
        async with self._turn:
            await self._end()

    async def _ask(self, order: bytes) -> Findings:
        process = self._process
        if process is None:
            process = self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "control.aside",
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip
        writer, reader = process.stdin, process.stdout
        if writer is None or reader is None:
            raise EOFError("there is no pipe to it")
        writer.write(_LENGTH.pack(len(order)))
        whole = memoryview(order)
        for start in range(0, len(order), _PIECE):
            writer.write(whole[start : start + _PIECE])
            await writer.drain()
        (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
        return _findings.decode(await reader.readexactly(length))

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.returncode is None:
            process.kill()
        await process.wait()


def work(orders: BinaryIO, answers: BinaryIO) -> None:
    """Answer every order on `orders` until it ends."""
    while len(head := orders.read(_LENGTH.size)) == _LENGTH.size:
        order = _orders.decode(orders.read(_LENGTH.unpack(head)[0]))
        comparison = Comparison(order.protocol, order.settings)
        wanted = Wanted(order.cohorts, order.watched)
        found, unreadable = found_in(comparison, order.pairs)
        features = {
            index: (_lists(one.cohorts), _lists(one.watched))
            for index, one in features_of(comparison, order.pairs, wanted).items()
        }
        answer = _encoder.encode(Findings(found, unreadable, features))
        answers.write(_LENGTH.pack(len(answer)) + answer)
        answers.flush()


def _lists(columns: Columns) -> dict[str, list[float]]:
    return {name: column.tolist() for name, column in columns.items()}


def _arrays(columns: Mapping[str, list[float]]) -> Columns:
    return {name: np.array(column, dtype=np.float64) for name, column in columns.items()}


def main() -> int:
    """The process; it ends when its standard input does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(NICENESS)
    with suppress(BrokenPipeError):
        work(sys.stdin.buffer, sys.stdout.buffer)
    return 0


if __name__ == "__main__":
    sys.exit(main())
