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
           "aborted": "bold yellow", "approving": "bold cyan"}  # fmt: skip


class StepView(msgspec.Struct, frozen=True):
    """A step that was taken; `since` in seconds since the epoch."""

    trigger: str
    phase: str
    stage: int
    since: float
    reason: str = ""


class ApprovalView(msgspec.Struct, frozen=True):
    """One person's word; `authentication`: how the name was established."""

    by: str
    authentication: str = ""
    reason: str = ""


class VoidView(msgspec.Struct, frozen=True):
    """An approval that does not count, and why."""

    by: str
    reason: str = ""


class AgreementView(msgspec.Struct, frozen=True):
    """How far people agree."""

    wanted: int
    missing: int
    given: tuple[ApprovalView, ...] = ()
    void: tuple[VoidView, ...] = ()


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
    tier: str | None = None
    waits_for: str = ""
    approvals: AgreementView | None = None


class ReleasesView(msgspec.Struct, frozen=True):
    releases: tuple[ReleaseStanding, ...]


def overview(releases: Sequence[ReleaseStanding]) -> RenderableType:
    """A line for each release."""
    table = _table("endpoint", "candidate", "tier", "phase", "since", "waits for", "id", "why")
    for one in releases:
        phase = Text(visible(one.phase), _STYLES.get(one.phase, ""))
        table.add_row(
            Text(visible(one.endpoint)), Text(visible(one.candidate)), Text(visible(one.tier or "")), phase,
            Text(visible(one.since)), Text(visible(one.waits_for)), Text(visible(one.id)),
            Text(visible(one.reason)),
        )  # fmt: skip
    return table


def shown(one: ReleaseStanding) -> RenderableType:
    """Where it stands, why, and how it came there."""
    whole = Text.assemble(
        f"{visible(one.endpoint)}: {visible(one.incumbent)} → {visible(one.candidate)} is ",
        (visible(one.phase).upper(), _STYLES.get(one.phase, "bold")),
        f", release {visible(one.id)}",
    )
    if one.tier is not None:
        whole.append(f", tier {visible(one.tier)}")
    parts: list[RenderableType] = [whole, Text(visible(one.reason))]
    if one.waits_for:
        parts.append(Text(f"waits for {visible(one.waits_for)}"))
    if one.approvals is not None:
        parts += _people(one.approvals)
    if one.history:
        table = _table("when", "phase", "stage", "why")
        for step in one.history:
            at = datetime.fromtimestamp(step.since, UTC).isoformat(timespec="seconds")
            table.add_row(at, Text(visible(step.phase)), str(step.stage), Text(visible(step.reason)))
        parts.append(table)
    return Group(*parts)


def _people(found: AgreementView) -> list[RenderableType]:
    given = [
        f"{visible(one.by)} ({visible(one.authentication)}): {visible(one.reason)}" for one in found.given
    ]
    void = [f"{visible(one.by)}, does not count: {visible(one.reason)}" for one in found.void]
    heading = f"approved by {len(found.given)} of {found.wanted}"
    return [Text(heading), *(Text(f"  {line}") for line in (*given, *void))]


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table
