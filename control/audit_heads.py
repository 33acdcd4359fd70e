"""Signed heads of the audit chain, at intervals: to a file that can be shipped elsewhere, and to the log.

The file is only ever appended to. At the start the chain is held against its last line: a database that was
cut short, rolled back or replaced while the gateway was down is noticed at once, without reading the chain.
"""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection

from audit import heads, keys, pages, store
from audit.heads import Head, HeadError
from audit.times import iso, micros
from control.audit_recorder import Recorder
from control.clock import Clock
from control.keeper import Keeper
from control.log import note
from domain.errors import ConfigError, PointsmanError
from settings.schema import AuditSettings

MOST_RECORDS = 1000
"""Records after which a head is taken, however short ago the last one was."""

LOOK = 1.0
"""Seconds between two looks at whether a head is due."""

_LAST_BYTES = 64 * 1024

log = logging.getLogger("pointsman.audit")


class HeadKeeper:
    """Takes heads of the chain that `recorder` writes.

    Attributes:
        last: the last head that was taken, in this life or an earlier one.
        problem: what is wrong with the chain or with the file; None: nothing.
        taken: heads that were taken in this life.
    """

    def __init__(self, settings: AuditSettings, recorder: Recorder, keeper: Keeper, clock: Clock) -> None:
        self.last: Head | None = None
        self.problem: str | None = None
        self.taken = 0
        self._path = Path(settings.heads)
        self._key_path = Path(settings.key)
        self._every = settings.every
        self._recorder = recorder
        self._keeper = keeper
        self._clock = clock
        self._key: Ed25519PrivateKey | None = None
        self._looked = False
        self._taken_at = clock.monotonic()
        self._recorded = 0

    @property
    def key(self) -> bytes | None:
        """The public key, 32 bytes; None before `open`."""
        return None if self._key is None else self._key.public_key().public_bytes_raw()

    async def open(self) -> None:
        """Get the key, and the last head of an earlier life. Raises ConfigError."""
        key = await asyncio.to_thread(keys.load_or_create, self._key_path)
        try:
            self.last = await asyncio.to_thread(last_head, self._path)
        except HeadError as error:
            raise ConfigError("audit.heads", str(self._path), f"{error}; move the file away") from error
        except OSError as error:
            raise ConfigError("audit.heads", str(self._path), f"it cannot be read: {error}") from error
        self._key = key

    async def run(self) -> None:
        """For ever: take heads when they are due."""
        while True:
            await asyncio.sleep(LOOK)
            if self._key is None:
                await self.try_open()
            if not self._looked:
                await self._look_back()
            elapsed = self._clock.monotonic() - self._taken_at
            if elapsed >= self._every or self._recorder.recorded - self._recorded >= MOST_RECORDS:
                await self.take()

    async def try_open(self) -> None:
        """As `open`; whatever is wrong is a `problem`, and `run` tries again."""
        try:
            await self.open()
        except ConfigError as error:
            self._fail(f"no head can be taken: {error}")

    async def take(self) -> None:
        """Take a head now, if the chain has grown."""
        self._taken_at, self._recorded = self._clock.monotonic(), self._recorder.recorded
        if self._key is None:
            return
        try:
            last = self.last
            tip, departs = await self._keeper.run(lambda database: database.read(lambda on: _seen(on, last)))
            if departs is not None:
                # Never signed over: whoever restored an older database on purpose moves the file away.
                self._fail(departs)
                return
            if tip.size == 0 or (last is not None and last.size == tip.size):
                return
            at = micros(self._clock.wall())
            head = heads.sign(self._key, size=tip.size, root=tip.frontier.root(), chain=tip.chain, at=at)
            await asyncio.to_thread(_keep, self._path, head)
        except (PointsmanError, OSError) as error:
            self._fail(f"no head could be taken: {error}")
            return
        if self.problem is not None and self.problem.startswith("no head"):
            self.problem = None
        self.last, self.taken = head, self.taken + 1
        note(
            log, logging.INFO, "audit head", size=head.size, root=head.root.hex(), chain=head.chain.hex(),
            key=head.key.hex(), at=iso(head.at), signature=head.signature.hex(),
        )  # fmt: skip

    async def _look_back(self) -> None:
        """Whether the chain still leads through the last head."""
        head = self.last
        if head is not None:
            try:
                reason = await self._keeper.run(lambda database: database.read(lambda on: _departs(on, head)))
            except PointsmanError:
                return  # counted and logged by the keeper; looked at again
            if reason is not None:
                self._fail(reason)
        self._looked = True

    def _fail(self, problem: str) -> None:
        if problem != self.problem:
            note(log, logging.ERROR, "audit chain", problem=problem)
        self.problem = problem


def _seen(connection: Connection, last: Head | None) -> tuple[store.Tip, str | None]:
    """The chain's end, and why the chain does not lead through `last`; None: it does."""
    return store.tip(connection), None if last is None else _departs(connection, last)


def _departs(connection: Connection, head: Head) -> str | None:
    """Why the chain does not lead through `head`; None: it does."""
    size = store.tip(connection).size
    if size < head.size:
        return (
            f"the chain has {size} records, but {head.size} when a head of it was signed at {iso(head.at)}: "
            "it was cut short, or rolled back"
        )
    found = pages.rows(connection, head.size - 1, 1)
    if not found or found[0][2] != head.chain:
        return f"record {head.size} is not the one that was there when a head was signed at {iso(head.at)}"
    return None


def last_head(path: Path) -> Head | None:
    """The last whole line of the file. Raises HeadError and OSError.

    A crash may have cut the last line; that head was never told to anybody.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _LAST_BYTES))
            content = file.read()
    except FileNotFoundError:
        return None
    whole = content[: content.rfind(b"\n") + 1].splitlines()[-1:]
    return next(iter(heads.read(whole)), None)


def _keep(path: Path, head: Head) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        if file.tell() and not _ends_whole(path):
            file.write(b"\n")
        file.write(head.line() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def _ends_whole(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
