"""What the demo tells people: a bar on a terminal, plain lines elsewhere, the timeline and the figures."""

from __future__ import annotations

from datetime import UTC, datetime
from types import TracebackType
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn
from rich.text import Text

from examples.rain.timeline import Timeline


class Report:
    """Writes to `stream` as the demo goes along. A context manager: the bar is removed at its end."""

    def __init__(self, stream: TextIO) -> None:
        self._console = Console(file=stream, highlight=False)
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[note]}"),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> Report:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def line(self, text: str, style: str = "") -> None:
        """One line of the story."""
        self._console.print(Text(text, style=style), soft_wrap=True)

    def act(self, title: str) -> None:
        """A new act begins."""
        self.line("")
        self.line(title, "bold")

    def progress(self, what: str, done: float, total: float, note: str = "") -> None:
        """Where a long step stands; `done` = `total` ends its bar."""
        if self._task is None:
            self._task = self._progress.add_task(what, total=total, note=note)
        self._progress.update(
            self._task, description=what, total=total, completed=min(done, total), note=note
        )
        if done >= total:
            self._progress.remove_task(self._task)
            self._task = None

    def timeline(self, timeline: Timeline) -> None:
        """The events with their offsets, then the figures."""
        self.act("Timeline")
        for at, words in timeline.events():
            self.line(f"  {_offset(at - timeline.changed_at):>10}  {_clock(at)}  {words}")
        self.act("Figures")
        for name, value in self._figures(timeline):
            self.line(f"  {name:<24}{value}")

    def _figures(self, timeline: Timeline) -> list[tuple[str, str]]:
        failed = _number(timeline.failed_requests)
        if timeline.failures:
            reasons = ", ".join(f"{count} × {reason}" for reason, count in timeline.failures.items())
            failed = f"{failed} ({reasons})"
        bad = f"{_number(timeline.bad)}, of which {_number(timeline.wrong)} said the other class"
        recovery = "-"
        if timeline.recovery_ms is not None:
            recovery = f"{_number(round(timeline.recovery_ms))} ms from the first bad prediction to the last"
        return [
            ("evidence", timeline.sentence or "no guard breached"),
            ("pairs until the breach", _number(timeline.detection_pairs)),
            ("recovery", recovery),
            ("bad predictions served", bad),
            ("pairs judged", _number(timeline.pairs)),
            ("requests", _number(timeline.requests)),
            ("requests failed", failed),
        ]


def _number(value: int | None) -> str:
    return "-" if value is None else f"{value:,}".replace(",", " ")


def _offset(seconds: float) -> str:
    return f"{seconds * 1000:+,.0f} ms".replace(",", " ")


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S.%f")[:-3]
