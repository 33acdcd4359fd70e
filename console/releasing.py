"""Releases on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from console.text import visible

_STYLES = {"done": "bold green", "promoted": "green", "halted": "bold red", "rolled back": "bold red",
           "aborted": "bold yellow"}  # fmt: skip


class StepView(msgspec.Struct, frozen=True):
    """A step that was taken; `since` in seconds since the epoch."""

    trigger: str
    phase: str
    stage: int
    since: float
    reason: str = ""


class ReleaseStanding(msgspec.Struct, frozen=True):
    """Where a release stands; `stage` counts from 0, -1 is the shadow stage after a re-arm."""

    id: str
    endpoint: str
    incumbent: str
    candidate: str
    phase: str
    stage: int
    since: str
    opened: str
    reason: str = ""
    history: tuple[StepView, ...] = ()


class ReleasesView(msgspec.Struct, frozen=True):
    releases: tuple[ReleaseStanding, ...]


def overview(releases: Sequence[ReleaseStanding]) -> RenderableType:
    """A line for each release."""
    table = _table("endpoint", "candidate", "phase", "since", "id", "why")
    for one in releases:
        phase = Text(visible(one.phase), _STYLES.get(one.phase, ""))
        table.add_row(
            Text(visible(one.endpoint)), Text(visible(one.candidate)), phase, Text(visible(one.since)),
            Text(visible(one.id)), Text(visible(one.reason)),
        )  # fmt: skip
    return table


def shown(one: ReleaseStanding) -> RenderableType:
    """Where it stands, why, and how it came there."""
    whole = Text.assemble(
        f"{visible(one.endpoint)}: {visible(one.incumbent)} → {visible(one.candidate)} is ",
        (visible(one.phase).upper(), _STYLES.get(one.phase, "bold")),
        f", release {visible(one.id)}",
    )
    parts: list[RenderableType] = [whole, Text(visible(one.reason))]
    if one.history:
        table = _table("when", "phase", "stage", "why")
        for step in one.history:
            at = datetime.fromtimestamp(step.since, UTC).isoformat(timespec="seconds")
            table.add_row(at, Text(visible(step.phase)), str(step.stage), Text(visible(step.reason)))
        parts.append(table)
    return Group(*parts)


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table
