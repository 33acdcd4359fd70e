"""Every endpoint at a glance, worked out once for all who ask.

Consoles ask each second, and there may be twenty of them; what they are told is the same. So it is worked out
when somebody asks and it is a second old, or when any switch has moved since: a kill is seen at once. Between
endpoints others get the loop, and reports of guards may be some seconds old where there are many (see
`control.glances`): fifty endpoints cost two hundredths of a core while looked at, and nothing while not.

What needs attention comes first: the switch fell, a guard is about to fall, a worker or the store is missing.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple

import orjson

from control.clock import Clock, iso
from control.glances import Glances
from control.history import Column
from control.judge import Judge
from control.sampling import PERIOD, WINDOW, Sampler
from control.switchboard import Switchboard
from domain.routing import Arm
from domain.verdict import Verdict
from killswitch.guards import GuardReport

FRESH = 1.0
"""Seconds for which what was worked out is told again."""

AT_ONCE = 10
"""Endpoints whose guards are looked at each second: with more of them, each is looked at less often."""

SHOWN_GUARDS = 12
TREND = 30
"""Samples of the requests that are shown as a line."""

CLOSE = 0.5
"""Of the way to its threshold, on a logarithmic scale: evidence that far makes a guard worth a look."""


class Attention(IntEnum):
    """How much an endpoint needs somebody: the larger the sooner."""

    NONE = 0
    TRIAL = 1
    WATCH = 2
    OUT = 3
    BLIND = 4


class Row(NamedTuple):
    """An endpoint with what is told of it."""

    name: str
    attention: Attention
    told: dict[str, object]


class Overview:
    """The rows, at most a second old."""

    def __init__(
        self,
        switchboard: Switchboard,
        glances: Glances,
        sampler: Sampler,
        clock: Clock,
        phase: Callable[[str], str | None],
    ) -> None:
        """`phase` says how the newest release of an endpoint stands, None where there is none."""
        self._board = switchboard
        self._glances = glances
        self._sampler = sampler
        self._clock = clock
        self._phase = phase
        self._rows: tuple[Row, ...] = ()
        self._at = -math.inf
        self._of: tuple[int, str] | None = None
        self._working = asyncio.Lock()
        self.worked_out = 0

    async def rows(self) -> tuple[Row, ...]:
        """Every endpoint, those first that need attention."""
        async with self._working:
            if self._of != self._state() or self._clock.monotonic() - self._at >= FRESH:
                await self._work_out()
        return self._rows

    def _state(self) -> tuple[int, str]:
        """What changes with every switch that moves, and when the kept state becomes known or unknown."""
        return self._board.snapshot.generation, self._board.unreadable or ""

    async def _work_out(self) -> None:
        self._of, self._at = self._state(), self._clock.monotonic()
        self.worked_out += 1
        judges = tuple(self._board.judges.items())
        oldest = max(FRESH, len(judges) / AT_ONCE)
        rows = []
        for name, judge in judges:
            if self._board.judges.get(name) is judge:
                rows.append(self._row(name, judge, self._glances.of(judge, oldest)))
            await asyncio.sleep(0)
        self._rows = tuple(sorted(rows, key=lambda row: (-row.attention, row.name)))

    def _row(self, name: str, judge: Judge, reports: tuple[GuardReport, ...]) -> Row:
        board, settings, stage = self._board, judge.settings, judge.stage
        uncleared = board.kill_state(name).uncleared
        attention = attention_of(
            judge, reports, tripped=board.tripped(name), readable=board.unreadable is None
        )
        last = judge.last_trip
        shown = sorted(reports, key=lambda one: (-one.verdict.severity, -closeness(one)))[:SHOWN_GUARDS]
        told: dict[str, object] = {
            "endpoint": name,
            "path": settings.path,
            "incumbent": settings.incumbent.name,
            "candidate": None if settings.candidate is None else settings.candidate.name,
            "attention": attention.name.lower(),
            "switch": {
                "tripped": board.tripped(name),
                "kills": len(uncleared),
                "since": iso(min(one.at for one in uncleared)) if uncleared else None,
                "actor": uncleared[0].actor if uncleared else None,
                "reason": uncleared[0].reason if uncleared else None,
                "unreadable": board.unreadable,
                "drill": board.rehearses(name),
            },
            "trip": None if last is None or not uncleared else last.sentence,
            "release": {
                "stage": judge.progress.stage,
                "stages": len(settings.plan),
                "mode": stage.mode.value,
                "weight": stage.weight / 10_000,
                "pairs": judge.progress.pairs,
                "pairs_needed": stage.pairs,
                "phase": self._phase(name),
            },
            "verdict": worst(reports).value if reports else None,
            "guards": [_guard(one) for one in shown],
            "breakers": len(judge.breakers),
            "pairs": judge.tally.judged,
            "flow": self._flow(name),
        }
        return Row(name, attention, told)

    def _flow(self, name: str) -> dict[str, object]:
        """What goes through it: the mean of the latest ten seconds, and how that went for a minute."""
        track = self._sampler.kept(name).recent
        samples = int(WINDOW / PERIOD)

        def mean(*column: str) -> float | None:
            found = track.mean(column, samples)
            return None if found is None else float(f"{found:.4g}")

        arms = {
            arm.value: {key: mean(arm.value, key) for key in ("requests", "errors", "p50", "p99")}
            for arm in (Arm.INCUMBENT, Arm.CANDIDATE)
        }
        trend: list[float | None] = []
        columns: tuple[Column, ...] = tuple((arm, "requests") for arm in arms)
        both = [track.last(column, TREND) for column in columns]
        for one, other in zip(*both, strict=True):
            known = [float(value) for value in (one, other) if not math.isnan(value)]
            trend.append(float(f"{sum(known):.4g}") if known else None)
        return {**arms, "mirrors": mean("mirrors"), "trend": trend, "step": PERIOD}


def attention_of(
    judge: Judge, reports: tuple[GuardReport, ...], *, tripped: bool, readable: bool
) -> Attention:
    """How much the endpoint of `judge` needs somebody."""
    if judge.settings.candidate is None:
        return Attention.NONE
    if not readable:
        return Attention.BLIND
    if tripped:
        return Attention.OUT
    bad = any(one.verdict in (Verdict.FAIL, Verdict.ERROR) or closeness(one) >= CLOSE for one in reports)
    return Attention.WATCH if bad or judge.breakers else Attention.TRIAL


def closeness(report: GuardReport) -> float:
    """How far evidence is on its way to the threshold: 0 none, 1 there; on a logarithmic scale."""
    if report.evidence <= 1 or report.threshold <= 1:
        return 0.0
    return min(1.0, math.log(report.evidence) / math.log(report.threshold))


def worst(reports: tuple[GuardReport, ...]) -> Verdict:
    """The worst verdict of `reports`, of which there is one at least."""
    return max((one.verdict for one in reports), key=lambda one: one.severity)


def _guard(report: GuardReport) -> dict[str, object]:
    return {
        "guard": report.guard,
        "cohort": report.cohort,
        "verdict": report.verdict.value,
        "estimate": _finite(report.estimate),
        "limit": report.limit,
        "closeness": round(closeness(report), 3),
        "soft": report.soft,
    }


def _finite(number: float) -> float | None:
    return float(f"{number:.4g}") if math.isfinite(number) else None


class Looks:
    """One endpoint's whole view, worked out once a second for all who look, and again after a switch."""

    def __init__(
        self, switchboard: Switchboard, clock: Clock, worked_out: Callable[[str], dict[str, object]]
    ) -> None:
        """`worked_out` makes the view of an endpoint; it raises UnknownEndpoint."""
        self._board = switchboard
        self._clock = clock
        self._worked_out = worked_out
        self._held: dict[str, tuple[tuple[int, str], float, bytes]] = {}

    def of(self, name: str) -> bytes:
        """The view as JSON, at most a second old. Raises UnknownEndpoint."""
        self._board.judge(name)
        state = self._board.snapshot.generation, self._board.unreadable or ""
        held, now = self._held.get(name), self._clock.monotonic()
        if held is None or held[0] != state or now - held[1] >= FRESH:
            for gone in self._held.keys() - self._board.judges.keys():
                del self._held[gone]
            held = self._held[name] = state, now, orjson.dumps(self._worked_out(name))
        return held[2]
