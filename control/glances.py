"""Reports of guards that may be some seconds old, for those who look at many endpoints at once.

What a guard's bounds are takes a third of a millisecond to work out, and so an endpoint's reports two or
three. For one endpoint that is nothing; for fifty, each second, it is a tenth of a core that kills would
wait for. Here reports are taken again when they are too old for whoever asks, or when what they are about
has changed: another trial, another stage, a breach.
"""

from __future__ import annotations

from typing import NamedTuple

from control.clock import Clock
from control.judge import Judge
from control.switchboard import Switchboard
from killswitch.guards import GuardReport
from settings.schema import Stage


class _About(NamedTuple):
    """What has to be the same for a report to be of it."""

    judge: int
    evidence_since: int
    stage: Stage
    breached: bool
    judged: bool


class _Taken(NamedTuple):
    about: _About
    at: float
    reports: tuple[GuardReport, ...]


class Glances:
    """The latest reports that somebody wanted, by endpoint."""

    def __init__(self, switchboard: Switchboard, clock: Clock) -> None:
        self._board = switchboard
        self._clock = clock
        self._taken: dict[str, _Taken] = {}

    def of(self, judge: Judge, oldest: float) -> tuple[GuardReport, ...]:
        """The reports of `judge`, at most `oldest` seconds old."""
        name = judge.settings.name
        about = _about(judge)
        now = self._clock.monotonic()
        taken = self._taken.get(name)
        if taken is None or taken.about != about or now - taken.at >= oldest:
            taken = self._taken[name] = _Taken(about, now, judge.reports())
            for gone in self._taken.keys() - self._board.judges.keys():
                del self._taken[gone]
        return taken.reports


def _about(judge: Judge) -> _About:
    return _About(
        id(judge), judge.evidence_since, judge.stage, judge.guards.breach is not None, judge.tally.judged > 0
    )
