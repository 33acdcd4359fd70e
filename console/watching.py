"""`pointsman status --watch`: how it stands, drawn again as it changes.

It looks once a second, and at once when the gateway tells of an event, so that a trip is on the screen as
soon as it happened, and within a second where the stream of events is cut. A control process that restarts
is expected: the last answer stays with the time it is of, and a line says since when nothing answers, and
that the data plane serves without it. Only the first look may fail: then the address or the name is wrong.

On a terminal it takes the screen, and `q` or Ctrl-C give it back. Elsewhere it writes on: a table, or with
--json a line, for every look that found something else.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
import termios
import threading
import time
import tty
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import FrameType
from typing import Protocol, Self

import msgspec
import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from console.client import AdminClient, Refused, Unreachable
from console.text import visible

LOOK = 1.0
"""Seconds between two looks where nothing is told."""
PAUSE = 0.2
"""Seconds between two looks at least, however much is told."""
PATIENCE = 3.0
"""Seconds for one look: longer, and it counts as away."""
LEAVE = (b"q", b"Q", b"\x04")
TERMINATED = 128 + signal.SIGTERM


@dataclass(frozen=True, slots=True)
class Sight:
    """What was seen last, and whether it is seen still. Times are seconds since the epoch.

    `problem`: why it cannot be seen now, an RFC 9457 document; `away`: since when; `back`: when it could be
    seen again after `gap` seconds.
    """

    answer: object
    at: float
    problem: Mapping[str, object] | None = None
    away: float | None = None
    back: float | None = None
    gap: float = 0.0

    def answered(self, answer: object, now: float) -> Sight:
        """It answers (again)."""
        if self.away is None:
            return replace(self, answer=answer, at=now)
        return Sight(answer, now, back=now, gap=max(0.0, now - self.away))

    def missed(self, problem: Mapping[str, object], now: float) -> Sight:
        """It does not answer, or refuses."""
        return replace(self, problem=problem, away=now if self.away is None else self.away)


class Face(Protocol):
    """Where it is shown."""

    def show(self, sight: Sight) -> None:
        """Show `sight`."""


def heading(sight: Sight, base: str) -> Text:
    """Whether what stands below is of now."""
    if sight.problem is not None and sight.away is not None:
        said = visible(str(sight.problem.get("detail") or sight.problem.get("title") or "refused"))
        return Text.assemble(
            (f"not seen since {_clock(sight.away)}: {said}", "bold red"),
            f"\nBelow is how it stood at {_clock(sight.at)}. The data plane serves on; looking again.",
        )
    line = Text.assemble(f"{visible(base)} at {_clock(sight.at)}", ("  q leaves", "dim"))
    if sight.back is not None:
        line.append(
            f"\nanswers again since {_clock(sight.back)}; it was away for {sight.gap:.0f} s", "yellow"
        )
    return line


class Lines:
    """JSON, one document a line: what `status --json` prints, or a problem document."""

    def __init__(self) -> None:
        self._last = ""

    def show(self, sight: Sight) -> None:
        """Print what has changed since the line before."""
        line = json.dumps(sight.answer if sight.problem is None else sight.problem)
        if line != self._last:
            self._last = line
            typer.echo(line)


class Pages:
    """Tables one after another, for a file, a pipe or a terminal that cannot be drawn on."""

    def __init__(
        self, base: str, draw: Callable[[object], RenderableType], show: Callable[..., None]
    ) -> None:
        self._base, self._draw, self._show = base, draw, show
        self._last: tuple[object, bool] | None = None

    def show(self, sight: Sight) -> None:
        """Print what has changed since the table before."""
        found = (sight.answer, sight.problem is None)
        if found == self._last:
            return
        self._last = found
        parts = [heading(sight, self._base)]
        self._show(*parts, *([self._draw(sight.answer)] if sight.problem is None else []))
        sys.stdout.flush()


class Screen:
    """A terminal's whole screen, drawn again."""

    def __init__(self, base: str, draw: Callable[[object], RenderableType], live: Live) -> None:
        self._base, self._draw, self._live = base, draw, live

    def show(self, sight: Sight) -> None:
        """Draw it."""
        whole = Group(heading(sight, self._base), Text(), self._draw(sight.answer))
        self._live.update(whole, refresh=True)


class Waker:
    """Wakes the watch when the gateway tells of something. A thread reads the stream of events."""

    def __init__(self, connect: Callable[[], AdminClient]) -> None:
        self._connect = connect
        self._ended = threading.Event()
        self._socket: socket.socket | None = None
        self.reading, self._writing = os.pipe()
        os.set_blocking(self._writing, False)
        os.set_blocking(self.reading, False)
        self._thread = threading.Thread(target=self._listen, name="events", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._socket is not None:
            _shut(self._socket)
        self._thread.join(PATIENCE)
        if not self._thread.is_alive():
            os.close(self._writing)
            os.close(self.reading)

    def _listen(self) -> None:
        while not self._ended.is_set():
            try:
                with self._connect() as client:
                    for _ in client.events(self._opened):
                        self._wake()
            except (Unreachable, Refused):
                pass  # The looks go on without it, and say what is wrong.
            self._wake()
            self._ended.wait(LOOK)

    def _opened(self, connection: socket.socket) -> None:
        self._socket = connection
        if self._ended.is_set():
            _shut(connection)

    def _wake(self) -> None:
        with suppress(BlockingIOError):  # full: it will wake without one more byte
            os.write(self._writing, b"!")


def _shut(connection: socket.socket) -> None:
    """End `connection` for the thread that reads it."""
    with suppress(OSError):  # the other side was first
        socket.socket.shutdown(connection, socket.SHUT_RDWR)


def problem_of(error: Exception) -> Mapping[str, object]:
    """What is wrong, as a problem document."""
    if isinstance(error, Refused):
        return error.problem
    title = "Gateway unreachable"
    if isinstance(error, msgspec.ValidationError):
        title = "Unreadable answer"
    return {"type": "about:blank", "title": title, "status": 0, "detail": str(error)}


def watch(
    first: object,
    look: Callable[[], object],
    face: Face,
    waker: int,
    keys: int | None,
    clock: Callable[[], float] = time.time,
) -> None:
    """Show `first` and what `look` finds, until a key of LEAVE. `waker`, `keys`: file descriptors."""
    sight = Sight(first, clock())
    face.show(sight)
    open_keys = keys
    while True:
        leaving, open_keys = _pause(waker, open_keys)
        if leaving:
            return
        try:
            sight = sight.answered(look(), clock())
        except (Unreachable, Refused, msgspec.ValidationError) as error:
            sight = sight.missed(problem_of(error), clock())
        face.show(sight)


def _pause(waker: int, keys: int | None) -> tuple[bool, int | None]:
    """Wait for the next look. Whether to leave instead, and `keys` for as long as somebody may type there."""
    began = time.monotonic()
    woken = False
    while True:
        rest = began + (PAUSE if woken else LOOK) - time.monotonic()
        if rest <= 0:
            return False, keys
        wanted = [one for one in (keys, None if woken else waker) if one is not None]
        ready = select.select(wanted, [], [], rest)[0]
        if waker in ready:
            os.read(waker, 4096)
            woken = True
        if keys is not None and keys in ready:
            typed = os.read(keys, 64)
            if any(key in typed for key in LEAVE):
                return True, keys
            if not typed:
                keys = None


@contextmanager
def typing() -> Iterator[int | None]:
    """Keys of the terminal at standard input, one by one and unseen; None where there is none of ours."""
    try:
        descriptor = sys.stdin.fileno()
        ours = os.isatty(descriptor) and os.tcgetpgrp(descriptor) == os.getpgrp()
    except (OSError, ValueError):
        ours = False
    if not ours:
        yield None
        return
    before = termios.tcgetattr(descriptor)
    tty.setcbreak(descriptor)
    try:
        yield descriptor
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


@contextmanager
def leaving_clean() -> Iterator[None]:
    """Ctrl-C is a way to leave, with exit code 0; SIGTERM ends it, too, but gives the screen back first."""

    def end(_number: int, _frame: FrameType | None) -> None:
        raise SystemExit(TERMINATED)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, before)


def drawable(console: Console) -> bool:
    """Whether the terminal can be drawn on."""
    return sys.stdout.isatty() and not console.is_dumb_terminal


def _clock(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%H:%M:%S} UTC"


def run(
    first: object,
    question: Callable[[AdminClient], object],
    draw: Callable[[object], RenderableType],
    connect: Callable[[float], AdminClient],
    as_json: bool,
    show: Callable[..., None],
) -> None:
    """Watch what `question` asks, from `first` on.

    `draw` raises msgspec.ValidationError for an answer that it cannot read.
    """
    console = Console(file=sys.stdout, highlight=False)
    with connect(PATIENCE) as client, Waker(lambda: connect(PATIENCE)) as waker:

        def look() -> object:
            answer = question(client)
            draw(answer)
            return answer

        if as_json:
            watch(first, look, Lines(), waker.reading, None)
        elif not drawable(console):
            watch(first, look, Pages(client.base, draw, show), waker.reading, None)
        else:
            with typing() as keys, Live(console=console, screen=True, auto_refresh=False) as live:
                watch(first, look, Screen(client.base, draw, live), waker.reading, keys)
