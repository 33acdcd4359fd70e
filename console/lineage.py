"""What versions were made of, as rich renderables. Cells are `Text`: nothing is read as markup."""

from __future__ import annotations

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from console.text import moment, number, visible
from console.views import DatasetView, EndpointView, LineageView, RecordView, VersionView

_MOST_NAMED = 12
"""Hyperparameters, and metrics, that are written out; `--json` has all."""

_CONDITIONS = {"none": "no lineage", "waiting": "lineage not known yet", "stale": "lineage stale"}

Lines = list[str]


def named(version: VersionView) -> Text:
    """A version's name; one without lineage is seen to have none."""
    name = Text(visible(version.version))
    found = version.lineage
    if found is not None and found.condition != "known":
        name.append(f" ({_CONDITIONS.get(found.condition, found.condition)})", style="yellow")
    return name


def section(view: EndpointView) -> list[RenderableType]:
    """The lineage of both versions, side by side; nothing from a gateway that does not tell."""
    versions = [
        one for one in (view.incumbent, view.candidate) if one is not None and one.lineage is not None
    ]
    if not versions:
        return []
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    for version in versions:
        table.add_column(Text(visible(version.version)), overflow="fold")
    known = [version.lineage or LineageView() for version in versions]
    for label, cells in _rows(known):
        if any(cells):
            table.add_row(Text(label), *map(_cell, cells))
    return [Text(), Text("Lineage", style="bold"), table]


def _rows(found: list[LineageView]) -> list[tuple[str, list[Lines]]]:
    records = [one.record or RecordView("") for one in found]
    return [
        ("lineage", [[_condition(one)] for one in found]),
        ("from", [_line(one.source) for one in records]),
        ("there", [_line(one.version) for one in records]),
        ("data", [[_dataset(data) for data in one.datasets] for one in records]),
        ("code", [_line(" of ".join(filter(None, (one.commit, one.repository)))) for one in records]),
        ("feature schema", [_line(one.schema) for one in records]),
        ("transformation", [_line(one.transformation) for one in records]),
        ("hyperparameters", [_named(one.hyperparameters) for one in records]),
        ("metrics", [_named({key: number(value) for key, value in one.metrics.items()}) for one in records]),
        ("artifact", [_line(one.artifact_digest) for one in records]),
        ("author", [_line(one.author) for one in records]),
        ("created", [[moment(one.created)] if one.created else [] for one in records]),
        ("registered", [[moment(one.registered)] if one.registered else [] for one in records]),
        ("deployed", [[moment(one.deployed)] if one.deployed else [] for one in records]),
        ("runs", [list(one.runs) for one in records]),
        ("not known", [_line(", ".join(one.missing)) if one.record is not None else [] for one in found]),
        ("gaps", [list(one.gaps) if one.record is not None else [] for one in found]),
    ]


def _cell(lines: Lines) -> Text:
    return Text("\n".join(map(visible, lines)) or "–")


def _line(value: str | None) -> Lines:
    return [value] if value else []


def _condition(found: LineageView) -> str:
    told = _CONDITIONS.get(found.condition, found.condition)
    since = f" since {moment(found.stale_since)}" if found.stale_since else ""
    return f"{told}{since}: {found.reason}" if found.reason else f"{told}{since}"


def _dataset(one: DatasetView) -> str:
    name = f"{one.name} {one.version}" if one.version else one.name
    role = "" if one.role in ("", "training") else f" ({one.role})"
    return ", ".join(filter(None, (name + role, one.digest, one.location)))


def _named(values: dict[str, str]) -> Lines:
    written = [f"{name} = {value}" for name, value in list(values.items())[:_MOST_NAMED]]
    more = len(values) - len(written)
    return [*written, f"and {more} more"] if more > 0 else written
