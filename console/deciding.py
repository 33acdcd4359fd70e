"""`pointsman why` and `pointsman diagnose`: one decision explained, and one change.

The gateway's log has a unit only as a keyed digest, so that it cannot say in which bucket it was. Whoever
knows the unit can: `--unit` works the bucket out here, and tells nobody.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated

import msgspec
import typer
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from console.client import DEFAULT_ADMIN, AdminClient
from console.completion import endpoint_names
from console.text import moment, number, share, visible
from domain.routing import FULL_WEIGHT
from routing.hashing import bucket

DIAGNOSIS_TIMEOUT = 120.0
"""Seconds: a day of a busy endpoint's log may have to be read."""

_MOST_CHANGES = 15
_AXES = {"code": "bold cyan", "model": "bold magenta", "data": "bold yellow"}

AdminOption = Annotated[
    str, typer.Option("--admin", envvar="POINTSMAN_ADMIN", metavar="URL", help="The gateway's admin API.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines, nothing else.")]


class SignalName(StrEnum):
    """What may have moved."""

    divergence = "divergence"
    errors = "errors"
    latency = "latency"
    confidence = "confidence"
    predictions = "predictions"
    accuracy = "accuracy"
    drift = "drift"


class FlagView(msgspec.Struct, frozen=True):
    name: str
    enabled: bool = False


class SwitchView(msgspec.Struct, frozen=True):
    tripped: bool = False


class StandingView(msgspec.Struct, frozen=True):
    """What the endpoint was doing then; `weight` is a fraction."""

    release: str | None = None
    mode: str | None = None
    weight: float | None = None
    flag: FlagView | None = None
    switch: SwitchView = SwitchView()


class MirroredView(msgspec.Struct, frozen=True):
    version: str
    status: int
    latency_ms: float
    prediction: tuple[object, ...] = ()
    confidence: float | None = None


class InputView(msgspec.Struct, frozen=True):
    digest: str | None = None
    text: str | None = None
    base64: str | None = None


class LabelView(msgspec.Struct, frozen=True):
    label: object
    at: str


class DecisionView(msgspec.Struct, frozen=True):
    """One decision; what is not known is null, and told in `notes`."""

    request_id: str
    endpoint: str
    at: str
    arm: str
    version: str
    reason: str
    status: int
    latency_ms: float
    generation: int
    configuration: str
    unit: str | None = None
    drill: str | None = None
    lineage: dict[str, object] | None = None
    prediction: tuple[object, ...] = ()
    confidence: float | None = None
    features: dict[str, object] = {}
    cohorts: tuple[str | None, ...] = ()
    input: InputView = InputView()
    mirrored: MirroredView | None = None
    live: StandingView | None = None
    label: LabelView | None = None
    notes: tuple[str, ...] = ()


class LevelView(msgspec.Struct, frozen=True):
    values: int
    mean: float


class ExplanationView(msgspec.Struct, frozen=True):
    axis: str
    kind: str
    subject: str
    sentence: str
    score: float
    at: str | None = None
    record: int | None = None


class ChangeView(msgspec.Struct, frozen=True):
    at: str
    axis: str
    sentence: str
    record: int | None = None


class PlaceView(msgspec.Struct, frozen=True):
    place: str
    values: int
    mean: float
    rest: float


class DiagnosisView(msgspec.Struct, frozen=True):
    """What changed and why; `axis` is null where nothing explains it well enough."""

    endpoint: str
    about: str
    signal: str | None
    requests: int
    changed_at: str | None = None
    changed_from: str | None = None
    changed_until: str | None = None
    p: float = 1.0
    before: LevelView | None = None
    after: LevelView | None = None
    axis: str | None = None
    explanations: tuple[ExplanationView, ...] = ()
    concentrations: tuple[PlaceView, ...] = ()
    changes: tuple[ChangeView, ...] = ()
    notes: tuple[str, ...] = ()


def decision(one: DecisionView, unit: str | None = None) -> RenderableType:
    """One decision, a line for each thing that is known."""
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, value in _lines(one, unit):
        table.add_row(Text(name, "dim"), Text(visible(value)))
    head = Text.assemble(
        f"{visible(one.endpoint)} answered {visible(one.request_id)} by ",
        (visible(one.version), "bold"),
        f" ({visible(one.arm)}): {visible(one.reason)}",
    )
    return Group(head, table, *(Text(visible(note), "yellow") for note in one.notes))


def _lines(one: DecisionView, unit: str | None) -> list[tuple[str, str]]:
    live, other, held = one.live, one.mirrored, one.input
    lines = [
        ("at", moment(one.at)),
        ("prediction", _said(one.prediction, one.confidence)),
        ("answer", f"{one.status} in {number(one.latency_ms)} ms"),
        ("made of", _made_of(one.lineage)),
        ("configuration", f"{one.configuration}, generation {one.generation}"),
    ]
    if live is not None:
        flag = (
            "no flag"
            if live.flag is None
            else f"flag {live.flag.name} {'on' if live.flag.enabled else 'off'}"
        )
        weight = "no weight" if live.weight is None else f"weight {share(live.weight)}"
        switch = "TRIPPED" if live.switch.tripped else "armed"
        lines.append(("live then", f"{switch}, {live.mode or 'no candidate'}, {weight}, {flag}"))
    lines += [("unit", one.unit or "none"), *_bucket(one, unit)]
    if other is not None:
        said = f"{_said(other.prediction, other.confidence)}, {other.status} in {number(other.latency_ms)} ms"
        lines.append((f"{other.version} said", said))
    if one.features:
        lines.append(("features", ", ".join(f"{name} = {value}" for name, value in one.features.items())))
    if any(one.cohorts):
        lines.append(("cohorts", ", ".join(str(cohort) for cohort in one.cohorts)))
    lines.append(("input", held.text or held.base64 or f"SHA-256 {held.digest or 'not known'}"))
    if one.drill is not None:
        lines.append(("drill", one.drill))
    true = "no label has come" if one.label is None else f"{one.label.label} (known {moment(one.label.at)})"
    return [*lines, ("really", true)]


def _bucket(one: DecisionView, unit: str | None) -> list[tuple[str, str]]:
    live = one.live
    if unit is None or live is None or live.release is None:
        return []
    found = bucket(live.release, unit)
    inside = live.weight is not None and found < round(live.weight * FULL_WEIGHT)
    return [("bucket", f"{found} of {FULL_WEIGHT}: {'inside' if inside else 'outside'} the weight")]


def _said(prediction: Sequence[object], confidence: float | None) -> str:
    told = ", ".join(map(str, prediction[:8])) + (", …" if len(prediction) > 8 else "")
    sure = "" if confidence is None else f" (confidence {number(confidence)})"
    return f"{told or 'not read'}{sure}"


def _made_of(lineage: dict[str, object] | None) -> str:
    if lineage is None:
        return "no lineage"
    found = [
        f"{name} {lineage[name]}" for name in ("source", "version", "commit", "schema") if lineage.get(name)
    ]
    datasets = lineage.get("datasets")
    held = [one for one in datasets if isinstance(one, dict)] if isinstance(datasets, list) else []
    found += [
        " ".join(["data", *(str(one[key]) for key in ("name", "version", "digest") if one.get(key))])
        for one in held
    ]
    return ", ".join(found) or "nothing is known of what it was made of"


def diagnosis(one: DiagnosisView) -> RenderableType:
    """What changed, the explanations best first, and what was recorded before."""
    parts: list[RenderableType] = [_sentence(one)]
    if one.explanations:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for heading in ("axis", "score", "what", "when", "record"):
            table.add_column(heading, overflow="fold")
        for found in one.explanations:
            at = moment(found.at) if found.at else "with it"
            table.add_row(
                Text(visible(found.axis), _AXES.get(found.axis, "")), f"{found.score:.2f}",
                Text(visible(found.sentence)), Text(at), "" if found.record is None else str(found.record),
            )  # fmt: skip
        parts.append(table)
    parts += [
        Text(visible(f"concentrates in {place.place}: {number(place.mean)}, elsewhere {number(place.rest)}"))
        for place in one.concentrations
    ]
    parts += [Text(visible(note), "yellow") for note in one.notes]
    if one.changes:
        parts.append(Text("recorded, the latest first", "bold"))
        parts += [
            Text(visible(f"  {moment(change.at)}  {change.axis:<5}  {change.sentence}"))
            for change in one.changes[:_MOST_CHANGES]
        ]
    return Group(*parts)


def _sentence(one: DiagnosisView) -> Text:
    signal = visible(one.signal or "no signal")
    if one.changed_at is None:
        return Text(f"{visible(one.endpoint)}: {signal} has not changed around {moment(one.about)}", "bold")
    levels = ""
    if one.before is not None and one.after is not None:
        levels = f" from {number(one.before.mean)} to {number(one.after.mean)}"
    answer = (
        ("nothing explains it", "bold") if one.axis is None else (one.axis.upper(), _AXES.get(one.axis, ""))
    )
    return Text.assemble(
        f"{visible(one.endpoint)}: {signal} changed{levels} at {moment(one.changed_at)}: ", answer
    )


def why(
    request: Annotated[str, typer.Argument(metavar="REQUEST_ID", help="The answer's x-request-id.")],
    unit: Annotated[
        str | None,
        typer.Option(
            "--unit", metavar="UNIT", help="Work out this unit's bucket, here; it is not sent anywhere."
        ),
    ] = None,
    admin: AdminOption = DEFAULT_ADMIN,
    as_json: JsonOption = False,
) -> None:
    """Which model made this decision, from what, and what was live then."""
    from console import app as main  # which adds these commands to its own

    answer = main._ask(admin, lambda client: client.decision(request), as_json)
    if as_json:
        main._print_json(answer)
    else:
        main._show(decision(main._read(answer, DecisionView), unit))


def diagnose(
    name: Annotated[
        str,
        typer.Argument(
            metavar="ENDPOINT",
            help="The endpoint's name in the configuration.",
            autocompletion=endpoint_names,
        ),
    ],
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="TIME", help="Near when, ISO 8601 with its offset; else the last trip."),
    ] = None,
    signal: Annotated[
        SignalName | None, typer.Option("--signal", help="What moved; else what the tripped guard watches.")
    ] = None,
    admin: AdminOption = DEFAULT_ADMIN,
    as_json: JsonOption = False,
) -> None:
    """Code, model or data: what changed, ordered by how well it explains what is seen."""
    from console import app as main

    wanted = None if signal is None else signal.value

    def ask(client: AdminClient) -> object:
        return client.diagnosis(name, at, wanted)

    answer = main._ask(admin, ask, as_json, timeout=DIAGNOSIS_TIMEOUT)
    if as_json:
        main._print_json(answer)
    else:
        main._show(diagnosis(main._read(answer, DiagnosisView)))
