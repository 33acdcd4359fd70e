"""Drills under way: a judge of its own for each, so that what a drill causes says nothing of the candidate.

While a drill spoils answers the real trial is set aside, untouched: its evidence, its stage, its last trip.
The drill's judge has the same guards with no evidence, counts only pairs of the drill's own generations, and
what it finds trips the real switch. Afterwards the real judge is back and counts from a later generation on,
so that a pair of the drill counts neither against the candidate nor for it, however late it arrives. What is
kept of the real trial meanwhile says that it is set aside: a control process that dies in the middle goes on
with that evidence, and still counts nothing from before its own life.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from control.judge import Judge
from control.trip import Fallen
from domain.kill import REHEARSED, Kill, is_rehearsed
from domain.routing import Arm
from domain.snapshot import Drill
from gates.drill import Answers
from killswitch.columns import JudgedPair
from killswitch.guards import GuardReport
from settings.schema import Stage
from shadow.wire import DrillReport

if TYPE_CHECKING:
    from control.clock import Clock
    from control.switchboard import Switchboard


@dataclass(slots=True)
class OpenDrill:
    """A drill under way at one endpoint.

    Attributes:
        real, judge: the trial that is set aside, and the drill's own.
        fallen, breach: the trip that the fault caused, and the guard's report, where a guard saw it.
        confirmed_at: when the last worker had obeyed, monotonic; None while, or if, one has not.
        shared: whether the other replicas know; None where there are none.
        settled: the workers were asked, whatever they said.
        called_off: what else ended it.
        news: something of the above has changed.
    """

    drill: Drill
    real: Judge
    judge: Judge
    fallen: Fallen | None = None
    breach: GuardReport | None = None
    confirmed_at: float | None = None
    shared: bool | None = None
    settled: bool = False
    called_off: str | None = None
    news: asyncio.Event = field(default_factory=asyncio.Event)
    _answers: dict[str, Answers] = field(default_factory=dict)

    def kill_id(self) -> str:
        """An id for a kill that the fault caused: it says of which drill."""
        return f"{prefix(self.drill.id)}{uuid.uuid4().hex[:12]}"

    def fell(self, fallen: Fallen, breach: GuardReport | None) -> None:
        """The fault has tripped the switch."""
        if self.fallen is None:
            self.fallen, self.breach = fallen, breach
            self.news.set()

    def heard(self, fallen: Fallen, confirmed_at: float | None, shared: bool | None) -> None:
        """The workers and the other replicas were told of `fallen`."""
        if self.fallen is not None and fallen.kill.id == self.fallen.kill.id:
            self.confirmed_at, self.shared, self.settled = confirmed_at, shared, True
            self.news.set()

    def call_off(self, why: str) -> None:
        """Something else has ended it."""
        self.called_off = self.called_off or why
        self.news.set()

    def reported(self, session: str, report: DrillReport) -> None:
        """What the drill has done in a worker so far; an older report changes nothing."""
        before = self._answers.get(session)
        seen = report.spoilt + report.left
        if report.drill != self.drill.id or (before is not None and before.spoilt + before.left > seen):
            return
        bad, served = report.spoilt > 0, report.served > 0
        self._answers[session] = Answers(
            report.spoilt, report.served, report.left,
            report.first if bad else None, report.last if bad else None,
            report.first_served if served else None, report.last_served if served else None,
        )  # fmt: skip
        self.news.set()

    @property
    def answers(self) -> Answers:
        """The bad answers of all workers."""
        total = Answers()
        for one in self._answers.values():
            total = total.joined(one)
        return total


class Uncounted:
    """Takes what a drill's judge counts: the metrics are of real trials."""

    def judged(self, endpoint: str, judged: Sequence[JudgedPair]) -> None:
        """See `control.judge.Gauges`."""

    def unreadable(self, endpoint: str, arm: Arm) -> None:
        """See `control.judge.Gauges`."""

    def stale(self) -> None:
        """See `control.judge.Gauges`."""


def prefix(drill: str) -> str:
    """What the ids of the kills that this drill caused begin with."""
    return f"{REHEARSED}{drill}:"


def only_rehearsed(kills: Iterable[Kill]) -> bool:
    """Whether nothing but drills has killed, and there is a kill."""
    ids = [kill.id for kill in kills]
    return bool(ids) and all(map(is_rehearsed, ids))


def begin(board: Switchboard, name: str, drill: Drill, stage: Stage, clock: Clock) -> OpenDrill:
    """Set the trial of `name` aside and have its candidate answer badly, from the next generation on."""
    real = board.judge(name)
    judge = Judge(real.settings, Uncounted(), clock, board.generations.last + 1)
    judge.rule(stage)
    judge.progress = real.progress
    judge.memory = None  # labels of the drill's pairs say nothing
    one = OpenDrill(drill, real, judge)
    real.aside = True
    board.rehearsals[name] = one
    board.judges[name] = judge
    board.touch(name)
    board.publish()
    return one


def end(board: Switchboard, name: str) -> None:
    """Put the real trial back. Its caller publishes. One that has ended already stays so."""
    one = board.rehearsals.pop(name, None)
    if one is None:
        return
    if board.judges.get(name) is one.judge:
        board.judges[name] = one.real
    one.real.aside = False
    one.real.evidence_since = board.generations.last + 1
    board.touch(name)


def call_off(board: Switchboard, names: Iterable[str], why: str) -> None:
    """End the drills of `names` for another reason than their own; the kills they caused stay for now.

    Its caller publishes, before it waits for anything: until then the fault goes on, and nobody judges.
    """
    for name in tuple(names):
        one = board.rehearsals.get(name)
        if one is not None:
            one.call_off(why)
            end(board, name)
