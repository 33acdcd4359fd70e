"""Promotion gates on the command line: executed here, or by a gateway, and shown as a table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from console.text import visible
from domain.errors import ConfigError, GateError
from domain.verdict import Verdict
from gates.execution import execute
from gates.result import CODES, report

_STYLES = {
    Verdict.PASS: "bold green",
    Verdict.FAIL: "bold red",
    Verdict.ERROR: "bold magenta",
    Verdict.INCONCLUSIVE: "bold yellow",
}


class ResultView(msgspec.Struct, frozen=True):
    """One gate's result; times are seconds since the epoch."""

    gate: str
    verdict: Verdict
    sentence: str
    started: float = 0.0
    ended: float = 0.0


class GatesView(msgspec.Struct, frozen=True):
    """All results of one execution, with the worst verdict; `void`: why they hold for nothing any more."""

    endpoint: str
    verdict: Verdict
    results: tuple[ResultView, ...] = ()
    detail: str = ""
    void: str | None = None


def executed(path: Path, name: str, begun: Callable[[str], None]) -> object:
    """The gates of endpoint `name` in the file at `path`, executed here; errors are a verdict, too."""
    try:
        return report(name, execute(path, name, begun))
    except (ConfigError, GateError) as error:
        return {"endpoint": name, "verdict": Verdict.ERROR.value, "results": [], "detail": str(error)}


def code(view: GatesView) -> int:
    """The exit code; results that hold for nothing are an ERROR."""
    return CODES[view.verdict if view.void is None else Verdict.worst((view.verdict, Verdict.ERROR))]


def shown(view: GatesView) -> RenderableType:
    """The verdict, and a line for each gate."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("gate", "verdict", "took", ""):
        table.add_column(heading, overflow="fold")
    for one in view.results:
        took = f"{one.ended - one.started:.1f} s"
        verdict = Text(one.verdict.upper(), _STYLES[one.verdict])
        table.add_row(visible(one.gate), verdict, took, Text(visible(one.sentence)))
    whole = Text.assemble(f"{visible(view.endpoint)}: ", (view.verdict.upper(), _STYLES[view.verdict]))
    notes = [Text(visible(note)) for note in (view.detail, view.void) if note]
    return Group(whole, table, *notes) if view.results else Group(whole, *notes)
