"""Endpoints, guards, pairs and settings as rich renderables. Cells are `Text`: nothing is read as markup."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence

import msgspec
from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from console import diff, lineage
from console.text import moment, number, share, visible
from console.views import (
    AccuracyView,
    ArmView,
    CohortView,
    DifferenceView,
    EndpointView,
    GuardView,
    KillView,
    PairView,
    PathView,
    RateView,
    ReleaseView,
    TripView,
)
from settings.schema import EndpointSettings, Settings

WIDE_OVERVIEW, WIDE_GUARDS = 90, 110
"""Columns from which on a table is read more easily than lines."""

_VERDICTS = {"pass": "green", "fail": "bold red", "inconclusive": "yellow", "error": "magenta"}


def overview(endpoints: Sequence[EndpointView]) -> RenderableType:
    """One line for each endpoint."""
    if not endpoints:
        return Text("no endpoints are configured")
    return Fitting(_overview(endpoints), Group(*map(_brief, endpoints)), WIDE_OVERVIEW)


class Fitting:
    """`wide` where there are as many columns as `least`, else `narrow`."""

    def __init__(self, wide: RenderableType, narrow: RenderableType, least: int) -> None:
        self._wide, self._narrow, self._least = wide, narrow, least

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self._wide if options.max_width >= self._least else self._narrow


def _brief(endpoint: EndpointView) -> Text:
    """An endpoint in lines that may be folded."""
    candidate = endpoint.candidate.version if endpoint.candidate else "–"
    counts = endpoint.pairs
    return Text.assemble(
        _cell(endpoint.endpoint, "bold"), "  ", _switch(endpoint), "  ", _verdict(endpoint.verdict),
        "\n  ", _cell(f"{endpoint.incumbent.version} → {candidate}"),
        "\n  ", _cell(_stage(endpoint.release)),
        _cell(f", weight {share(endpoint.release.weight)}" if endpoint.release else ""),
        _cell(f", {number(counts.judged)} pairs, {number(counts.flips)} flips"),
        overflow="fold",
    )  # fmt: skip


def _overview(endpoints: Sequence[EndpointView]) -> Table:
    table = _table(
        "endpoint", "switch", "incumbent", "candidate", "stage", "weight", "verdict", "pairs", "flips"
    )
    for endpoint in endpoints:
        release = endpoint.release
        table.add_row(
            _cell(endpoint.endpoint, "bold"),
            _switch(endpoint),
            lineage.named(endpoint.incumbent),
            lineage.named(endpoint.candidate) if endpoint.candidate else Text("–"),
            _cell(_stage(release)),
            _cell(share(release.weight) if release else "–"),
            _verdict(endpoint.verdict),
            _cell(number(endpoint.pairs.judged)),
            _cell(number(endpoint.pairs.flips)),
        )
    return table


def endpoint(view: EndpointView) -> RenderableType:
    """Everything about one endpoint: switch, release, guards with their evidence, the last trip."""
    parts: list[RenderableType] = [_summary(view)]
    if view.switch.kills:
        parts += [Text(), Text("Kills in force", style="bold red"), kills(view.switch.kills)]
    if view.switch.unreadable is not None:
        parts.append(_cell(f"every candidate is out: {view.switch.unreadable}", "red"))
    for breaker in view.switch.breakers:
        parts.append(
            _cell(f"breaker open in worker {breaker.worker}: {breaker.reason or 'no reason given'}", "red")
        )
    parts += lineage.section(view)
    if view.guards:
        parts += [Text(), Text("Guards", style="bold"), guards(view.guards)]
        parts += [_cell(f"  {_told(guard)}") for guard in view.guards if guard.sentence]
        parts += [_cell(f"  warning: {warning}", "yellow") for warning in view.warnings]
    parts += breakdown(view)
    if view.last_trip is not None:
        parts += [Text(), Text("Last trip", style="bold"), trip(view.last_trip)]
    return Group(*parts)


def kills(found: Iterable[KillView]) -> Table:
    """Kills: who, why, when."""
    table = _table("kill", "at", "by", "version", "reason")
    table.columns[0].no_wrap = True
    for kill in found:
        table.add_row(*map(_cell, (kill.id, moment(kill.at), kill.actor, kill.version, kill.reason)))
    return table


def guards(found: Sequence[GuardView]) -> RenderableType:
    """Guards: the estimate against the limit, and how far it is to a trip (on a log scale) and to a pass."""
    return Fitting(_guards(found), Group(*map(_guard, found)), WIDE_GUARDS)


def _guard(guard: GuardView) -> Text:
    """A guard in lines that may be folded."""
    return Text.assemble(
        _cell(f"{guard.guard} (warns only)" if guard.soft else guard.guard, "bold"), "  ",
        _verdict(guard.verdict),
        "\n  ", _cell(f"{_bounded(guard)}, limit {number(guard.limit)}"),
        "\n  ", _cell(f"evidence {number(guard.evidence)} of {number(guard.threshold)}"),
        _cell(f", {number(guard.count)} votes, needs {_needed(guard)}"),
        overflow="fold",
    )  # fmt: skip


def _guards(found: Iterable[GuardView]) -> Table:
    table = _table(
        "guard", "verdict", "estimate (95 % bounds)", "limit", "evidence", "trips at", "towards a trip",
        "votes", "still needed", "towards a pass",
    )  # fmt: skip
    for guard in found:
        table.add_row(
            _cell(f"{guard.guard} (warns only)" if guard.soft else guard.guard),
            _verdict(guard.verdict),
            _cell(_bounded(guard)),
            *map(_cell, map(number, (guard.limit, guard.evidence, guard.threshold))),
            ProgressBar(total=1.0, completed=_progress(guard), width=10),
            _cell(number(guard.count)),
            _cell(_needed(guard)),
            ProgressBar(total=1.0, completed=_passing(guard), width=10),
        )
    return table


def _told(guard: GuardView) -> str:
    """The guard in a sentence and, while something speaks against the candidate, its worst pairs."""
    rising = guard.evidence is not None and guard.evidence > 1
    worst = f" (worst pairs: {', '.join(guard.worst)})" if guard.worst and rising else ""
    return f"{guard.sentence}{worst}"


def breakdown(view: EndpointView) -> list[RenderableType]:
    """Where divergence concentrates, by cohort and by path, and how often each version was right."""
    parts: list[RenderableType] = []
    if view.cohorts:
        parts += [Text(), Text("Cohorts that differ more than the rest", style="bold"), cohorts(view.cohorts)]
    if view.paths:
        parts += [Text(), Text("Paths that differ", style="bold"), paths(view.paths)]
    if view.accuracy:
        parts += [Text(), Text("Right predictions, by labels", style="bold"), accuracy(view.accuracy)]
    if view.drift:
        parts += [Text(), Text("Features against their reference", style="bold"), drift(view)]
    return parts


def cohorts(found: Iterable[CohortView]) -> Table:
    """Cohorts by what is certain of them: the lower bound of theirs less the upper bound of the rest's."""
    table = _table("cohort", "votes", "here", "at least", "elsewhere", "at most", "certain")
    for one in found:
        table.add_row(
            _cell(one.cohort),
            _cell(number(one.votes)),
            *map(_cell, map(share, (one.mean, one.low, one.rest, one.rest_high))),
            Text("yes", style="bold red") if one.certain else Text("not yet", style="dim"),
        )
    return table


def paths(found: Iterable[PathView]) -> Table:
    """Paths: between the arms against the incumbent's own noise."""
    table = _table("path", "between the arms", "the incumbent's own noise", "finding")
    for one in found:
        finding = "exceeds its noise" if one.exceeds else "only noise" if one.quiet else "not enough evidence"
        table.add_row(
            _cell(one.path or "(everything)"),
            _cell(_rate(one.arms)),
            _cell(_rate(one.noise)),
            _cell(finding, "bold red" if one.exceeds else ""),
        )
    return table


def accuracy(found: Iterable[AccuracyView]) -> Table:
    """Shares of right predictions by cohort."""
    table = _table("cohort", "labels", "incumbent", "candidate")
    for one in found:
        told = (one.cohort or "all", number(one.labels), share(one.incumbent), share(one.candidate))
        table.add_row(*map(_cell, told))
    return table


def drift(view: EndpointView) -> Table:
    """How far the features of the requests moved, the farthest first."""
    limit = next((guard.limit for guard in view.guards if guard.guard == "drift"), None)
    table = _table("feature", "shift", "limit")
    for one in view.drift:
        over = limit is not None and one.shift > limit
        told = "–" if limit is None else share(limit)
        table.add_row(_cell(one.feature), _cell(share(one.shift), "yellow" if over else ""), _cell(told))
    return table


def trip(view: TripView) -> Table:
    """The timeline of a trip."""
    grid = _grid()
    rows = [
        ("cause", view.cause),
        ("reason", view.reason),
        ("first bad answer", moment(view.first_bad_at)),
        ("breach", moment(view.breach_at)),
        ("trip", moment(view.trip_at)),
        ("every worker confirmed", moment(view.confirmed_at)),
        ("last bad answer served", moment(view.last_bad_served_at)),
        ("breach to confirmation", "–" if view.trip_ms is None else f"{view.trip_ms:.1f} ms"),
        ("evidence", view.sentence),
    ]
    for name, value in rows:
        if value:
            grid.add_row(Text(name), _cell(value))
    return grid


def pair(view: PairView) -> RenderableType:
    """One pair: what both versions answered, line by line."""
    judged = "not compared" if view.score is None else f"score {number(view.score)}"
    if view.flip is not None:
        judged += ", flipped" if view.flip else ", no flip"
    head = Text.assemble(
        _cell(view.request_id, "bold"), f"  {moment(view.at)}  {judged}, client got the ", _cell(view.served)
    )
    table = Table(box=box.SIMPLE, expand=True)
    table.add_column(_arm("incumbent", view.incumbent), ratio=1, overflow="fold")
    table.add_column(_arm("candidate", view.candidate), ratio=1, overflow="fold")
    for line in diff.lines(view.incumbent.prediction, view.candidate.prediction):
        left, right = ("red", "green") if line.changed else ("dim", "dim")
        table.add_row(_cell(line.incumbent, left), _cell(line.candidate, right))
    parts: list[RenderableType] = [head, *([_cell(view.reason)] if view.reason else []), table]
    if _structured(view):
        parts += [differences(view.diff), Text()]
    return Group(*parts)


def _structured(view: PairView) -> bool:
    """Whether a list of values says more than two predictions side by side."""
    return any(one.text for one in view.diff) or any("/" in one.path for one in view.diff)


def differences(found: Iterable[DifferenceView]) -> RenderableType:
    """Values that differ by their path; texts by words, what only one side has marked."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("path", "incumbent → candidate"):
        table.add_column(heading, overflow="fold")
    for one in found:
        if one.text:
            styles = {"-": "red strike", "+": "green"}
            told = Text.assemble(*(_cell(words, styles.get(kind, "dim")) for kind, words in one.text))
        else:
            told = Text.assemble(_value(one.incumbent, "red"), " → ", _value(one.candidate, "green"))
        table.add_row(_cell(one.path or "(everything)"), told)
    return table


def _value(value: object, style: str) -> Text:
    if value is msgspec.UNSET:
        return Text("nothing", style="dim")
    return _cell(json.dumps(value, ensure_ascii=False), style)


def settings(found: Settings) -> RenderableType:
    """A valid configuration: its digest, where it listens, its endpoints."""
    grid = _grid()
    grid.add_row(Text("digest"), Text(found.digest))
    grid.add_row(
        Text("data plane"), Text(f"{found.listen}, {found.workers} worker{'s' * (found.workers != 1)}")
    )
    grid.add_row(Text("admin API"), Text(str(found.admin)))
    grid.add_row(Text("database"), _cell(found.database))
    flags = found.flags_path if found.unleash is None else found.unleash.url
    grid.add_row(Text("flags"), _cell(flags or "none: every unit may see a candidate"))
    table = _table(
        "endpoint", "path", "protocol", "unit", "incumbent", "candidate", "flag", "compare", "guards", "plan"
    )
    for one in found.endpoints:
        table.add_row(*map(_cell, _configured(one)))
    return Group(grid, table)


def _configured(one: EndpointSettings) -> tuple[str, ...]:
    watched = [
        name
        for name in ("divergence", "flips", "errors", "latency", "confidence", "classes", "drift", "accuracy")
        if getattr(one.guards, name) is not None
    ]
    plan = [
        f"{stage.mode} {share(stage.weight / 10_000)}" if stage.weight else str(stage.mode)
        for stage in one.plan
    ]
    candidate = one.candidate.name if one.candidate else "–"
    if one.follow is not None:
        candidate = f"models:/{one.follow.model}@{one.follow.candidate}"
    compare, flag = one.compare.kind, one.flag or "–"
    guarded, planned = ", ".join(watched) or "–", " → ".join(plan)
    if one.approvals.people:
        planned = f"{one.approvals.people} to approve → {planned}"
    if one.tier is not None:
        planned = f"{one.tier}: {planned}"
    return (
        one.name,
        one.path,
        one.protocol,
        str(one.unit),
        one.incumbent.name,
        candidate,
        flag,
        compare,
        guarded,
        planned,
    )


def _summary(view: EndpointView) -> Table:
    grid = _grid()
    grid.add_row(Text("endpoint"), _cell(view.endpoint, "bold"))
    grid.add_row(Text("path"), _cell(f"{view.path} ({view.protocol})" if view.protocol else view.path))
    grid.add_row(Text("switch"), _switch(view))
    grid.add_row(Text("incumbent"), _cell(" ".join((view.incumbent.version, *view.incumbent.urls))))
    grid.add_row(
        Text("candidate"),
        _cell(" ".join((view.candidate.version, *view.candidate.urls)) if view.candidate else "–"),
    )
    grid.add_row(Text("flag"), _cell(view.flag or "none: every unit may see the candidate"))
    if view.release is not None:
        grid.add_row(Text("stage"), _cell(f"{_stage(view.release)}, weight {share(view.release.weight)}"))
        if view.release.pairs_needed:
            grid.add_row(
                Text("pairs in stage"), _cell(f"{view.release.pairs} of {view.release.pairs_needed}")
            )
    grid.add_row(Text("verdict"), _verdict(view.verdict))
    counts = view.pairs
    left_out = f"{counts.faults} faults, {counts.stale} stale, {counts.shed} shed"
    grid.add_row(Text("pairs"), Text(f"{counts.judged} judged, {counts.flips} flips, {left_out}"))
    workers = ", ".join(f"{worker.worker} at {worker.generation}" for worker in view.workers)
    grid.add_row(
        Text("generation"),
        _cell(f"{view.generation} (worker {workers})" if workers else str(view.generation)),
    )
    if view.config_digest:
        grid.add_row(Text("configuration"), _cell(view.config_digest))
    return grid


def _switch(view: EndpointView) -> Text:
    if view.switch.tripped:
        return Text("TRIPPED", style="bold red")
    if view.switch.breakers:
        return Text(f"armed, {len(view.switch.breakers)} breaker(s) open", style="red")
    return Text("armed" if view.candidate else "no candidate", style="green" if view.candidate else "dim")


def _stage(release: ReleaseView | None) -> str:
    if release is None:
        return "–"
    return release.mode if release.stage < 0 else f"{release.mode} ({release.stage + 1} of {release.stages})"


def _progress(guard: GuardView) -> float:
    """ln(evidence) / ln(threshold), between 0 and 1: how far the evidence has come."""
    if not guard.evidence or guard.threshold is None or guard.evidence <= 1 or guard.threshold <= 1:
        return 0.0
    return min(math.log(guard.evidence) / math.log(guard.threshold), 1.0)


def _bounded(guard: GuardView) -> str:
    if guard.bound_low is None or guard.bound_high is None or not guard.count:
        return number(guard.estimate)
    return f"{number(guard.estimate)} ({number(guard.bound_low)} to {number(guard.bound_high)})"


def _needed(guard: GuardView) -> str:
    """Votes that a pass still takes, as far as can be told by those so far."""
    if guard.verdict == "fail":
        return "–"
    return "never, at this rate" if guard.pairs_needed is None else number(guard.pairs_needed)


def _passing(guard: GuardView) -> float:
    """The share of the votes for a pass that are there."""
    if guard.verdict == "fail" or guard.pairs_needed is None:
        return 0.0
    whole = guard.count + guard.pairs_needed
    return guard.count / whole if whole else 0.0


def _rate(rate: RateView) -> str:
    if not rate.comparisons:
        return "not compared"
    seen = f"{rate.differing} of {number(rate.comparisons)}"
    return f"{seen} ({share(rate.low)} to {share(rate.high)})"


def _arm(name: str, arm: ArmView) -> Text:
    latency = "" if arm.latency_ms is None else f", {arm.latency_ms:.1f} ms"
    return _cell(f"{name} {arm.version}: {arm.outcome} {arm.status}{latency}")


def _verdict(verdict: str) -> Text:
    return _cell(verdict, _VERDICTS.get(verdict, ""))


def _cell(text: str, style: str = "") -> Text:
    return Text(visible(text), style=style)


def _table(*headings: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def _grid() -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    return grid
