"""`pointsman drift`: how far requests and predictions are from what they were, and which slices are slow."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from console.client import DEFAULT_ADMIN
from console.completion import endpoint_names
from console.text import visible

MOST_COLUMNS = 30
MOST_SLICES = 10

EndpointArgument = Annotated[
    str,
    typer.Argument(
        metavar="ENDPOINT",
        help="The endpoint's name in the configuration.",
        autocompletion=endpoint_names,
    ),
]
HoursOption = Annotated[int, typer.Option("--hours", min=1, max=168, help="How many hours to look at.")]
RelearnOption = Annotated[
    bool, typer.Option("--relearn", help="Retire the reference that was learned, and learn another one.")
]
ReasonOption = Annotated[
    str | None, typer.Option("--reason", metavar="TEXT", help="Why it is learned again; with --relearn.")
]
AdminOption = Annotated[
    str, typer.Option("--admin", envvar="POINTSMAN_ADMIN", metavar="URL", help="The gateway's admin API.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines, nothing else.")]


class ReferenceView(msgspec.Struct, frozen=True):
    """What is compared with."""

    origin: str
    digest: str
    adopted_at: str
    rows: int


class LearningView(msgspec.Struct, frozen=True):
    requests: int
    needed: int
    not_before: str | None = None


class AlarmView(msgspec.Struct, frozen=True):
    verdict: str
    sentence: str
    since: str | None = None


class WeekView(msgspec.Struct, frozen=True):
    shift: float
    rows: int


class CellView(msgspec.Struct, frozen=True):
    cell: str
    reference: float
    share: float


class NewView(msgspec.Struct, frozen=True):
    value: str
    rows: int


class ColumnView(msgspec.Struct, frozen=True):
    """One column, see docs/drift.md."""

    name: str
    of: str
    kind: str
    rows: int
    shift: float
    shift_low: float
    shift_high: float
    missing: float
    stability_index: float | None = None
    moved: float | None = None
    retyped: int = 0
    below: int = 0
    above: int = 0
    new_categories: tuple[NewView, ...] = ()
    cells: tuple[CellView, ...] = ()
    prior_week: WeekView | None = None


class SliceView(msgspec.Struct, frozen=True):
    rows: int
    p50: float
    p95: float
    p99: float
    slow: bool = False
    by: str = ""
    value: str = ""


class LatencyView(msgspec.Struct, frozen=True):
    all: SliceView | None = None
    slices: tuple[SliceView, ...] = ()


class WindowView(msgspec.Struct, frozen=True):
    hours: int
    rows: int


class DriftView(msgspec.Struct, frozen=True):
    """The answer of `GET /api/v1/endpoints/{endpoint}/drift`."""

    endpoint: str
    condition: str
    problem: str | None = None
    reference: ReferenceView | None = None
    learning: LearningView | None = None
    alarm: AlarmView | None = None
    window: WindowView | None = None
    columns: tuple[ColumnView, ...] = ()
    unknown_features: dict[str, int] = {}
    latency: LatencyView | None = None


def drift(
    endpoint: EndpointArgument,
    hours: HoursOption = 24,
    relearn: RelearnOption = False,
    reason: ReasonOption = None,
    admin: AdminOption = DEFAULT_ADMIN,
    as_json: JsonOption = False,
) -> None:
    """How far requests and predictions are from what they were. Exit code 1: they have certainly drifted."""
    from console import app as main  # which adds this command to its own

    if relearn == (reason is None):
        raise typer.BadParameter("--relearn takes a --reason, and nothing else does")
    if relearn:
        answer = main._ask(admin, lambda client: client.relearn_drift(endpoint, reason or ""), as_json)
    else:
        answer = main._ask(admin, lambda client: client.drift(endpoint, hours), as_json)
    found = main._read(answer, DriftView)
    if as_json:
        main._print_json(answer)
    else:
        main._show(told(found))
    if found.alarm is not None and found.alarm.verdict == "fail":
        raise typer.Exit(main.REFUSED)


def told(view: DriftView) -> RenderableType:
    """All of it, for people."""
    parts: list[RenderableType] = [Text(heading(view))]
    if view.problem:
        parts.append(Text(visible(view.problem), style="bold red"))
    if view.alarm is not None:
        style = "bold red" if view.alarm.verdict == "fail" else ""
        parts.append(Text(f"{view.alarm.verdict}: {visible(view.alarm.sentence)}", style=style))
    if view.columns:
        parts += [Text(), columns(view)]
    if view.unknown_features:
        names = ", ".join(visible(name) for name in view.unknown_features)
        parts.append(Text(f"features that the reference lacks: {names}"))
    if view.latency is not None and view.latency.slices:
        parts += [Text(), Text("Latency by slice, the slow ones first", style="bold"), slices(view.latency)]
    return Group(*parts)


def heading(view: DriftView) -> str:
    """What is compared with what, in a line."""
    name = visible(view.endpoint)
    if view.learning is not None:
        learning = view.learning
        until = f", not before {learning.not_before}" if learning.not_before else ""
        return f"{name}: learning from {learning.requests} of {learning.needed} requests{until}"
    if view.reference is None or view.window is None:
        return f"{name}: {view.condition}"
    reference, window = view.reference, view.window
    return (
        f"{name}: {window.rows} requests of {window.hours} h against {visible(reference.origin)} "
        f"({reference.rows} rows, since {reference.adopted_at})"
    )


def columns(view: DriftView) -> Table:
    """A line for each column, the furthest first."""
    table = Table(box=None, pad_edge=False)
    for title in ("column", "shift", "at least", "index", "moved", "missing", "week before", "what", "where"):
        table.add_column(title)
    for one in view.columns[:MOST_COLUMNS]:
        week = "" if one.prior_week is None else f"{one.prior_week.shift:.1%}"
        name = one.name if one.of == "feature" else f"({one.name})"
        table.add_row(
            *map(Text, (
                visible(name), f"{one.shift:.1%}", f"{one.shift_low:.1%}",
                "" if one.stability_index is None else f"{one.stability_index:.3f}",
                "" if one.moved is None else f"{one.moved:.2f} σ", f"{one.missing:.1%}", week,
                visible(remarks(one)), visible(fullest(one)),
            ))
        )  # fmt: skip
    return table


def remarks(one: ColumnView) -> str:
    """What is wrong with single values."""
    found = [
        f"{rows} {what}"
        for rows, what in ((one.retyped, "of another type"), (one.below, "below"), (one.above, "above"))
        if rows
    ]
    if one.new_categories:
        found.append(f"new: {', '.join(new.value for new in one.new_categories[:3])}")
    return ", ".join(found)


def fullest(one: ColumnView) -> str:
    """The cell that has grown most."""
    cell = max(one.cells, key=lambda cell: cell.share - cell.reference, default=None)
    if cell is None or cell.share <= cell.reference:
        return ""
    return f"{cell.cell}: {cell.reference:.0%} → {cell.share:.0%}"


def slices(latency: LatencyView) -> Table:
    """All requests, then slices."""
    table = Table(box=None, pad_edge=False)
    for title in ("slice", "requests", "p50", "p95", "p99", ""):
        table.add_column(title)
    shown = ((latency.all,) if latency.all is not None else ()) + latency.slices[:MOST_SLICES]
    for one in shown:
        name = f"{one.by} {one.value}".strip() or "all"
        seconds = (f"{1000 * value:.1f} ms" for value in (one.p50, one.p95, one.p99))
        table.add_row(Text(visible(name)), str(one.rows), *seconds, "slow" if one.slow else "")
    return table
