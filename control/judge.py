"""One endpoint's trial: its pairs compared, its guards fed, its release's progress.

What counts as evidence. A pair counts only if it was decided by a generation in which this trial ran
(`evidence_since`) and shows the very versions that are on trial. Pairs that were under way when the
candidate went out, when it was armed again, or when the configuration named another one, are stale: they
are counted as such and change nothing. So a re-arm cannot be undone by answers from before it, and a new
candidate never answers for the old one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from comparators.comparison import Comparison
from control.clock import Clock
from control.records import EndpointRecord
from control.showcase import Showcase
from control.trip import Trip
from domain.errors import ComparatorFault
from domain.observation import Divergence, Pair
from domain.routing import Arm
from domain.verdict import Verdict
from gates import plan
from gates.plan import Progress
from killswitch.guards import GuardReport, GuardSet
from killswitch.signals import JudgedPair
from settings.schema import EndpointSettings, Stage


class Gauges(Protocol):
    """What is counted while judging."""

    def judged(self, endpoint: str, judged: JudgedPair) -> None:
        """A pair counted as evidence."""

    def unreadable(self, endpoint: str, arm: Arm) -> None:
        """An arm's answer could not be read."""

    def stale(self) -> None:
        """A pair came that is no evidence of the trial."""


@dataclass(slots=True)
class Tally:
    """Counts of one release. `faults`: pairs not comparable because of the incumbent; `stale`: ignored."""

    judged: int = 0
    flips: int = 0
    faults: int = 0
    stale: int = 0


class Judge:
    """Everything about one endpoint that depends on what its arms answered."""

    def __init__(self, settings: EndpointSettings, gauges: Gauges, clock: Clock, evidence_since: int) -> None:
        """Raises ConfigError when the settings' comparison or guards make no sense.

        `evidence_since` is the first generation whose pairs count.
        """
        self.settings = settings
        self.comparison = Comparison(
            settings.protocol, settings.compare, f"endpoints.{settings.name}.compare"
        )
        self.guards = GuardSet(settings.guards)
        self.progress = plan.start(clock.wall())
        self.evidence_since = evidence_since
        self.tally = Tally()
        self.showcase = Showcase()
        self.last_trip: Trip | None = None
        self.breakers: dict[int, str] = {}
        self.last_served_at: float | None = None
        self._gauges = gauges
        self._clock = clock

    @property
    def candidate(self) -> str:
        """The candidate's version, "" when there is none."""
        return "" if self.settings.candidate is None else self.settings.candidate.name

    @property
    def release(self) -> str:
        """The release on trial."""
        return f"{self.settings.name}/{self.candidate}"

    @property
    def stage(self) -> Stage:
        """The stage of the plan that the release is in."""
        return plan.current(self.settings.plan, self.progress)

    @property
    def verdict(self) -> Verdict:
        """The worst of the guards' verdicts, for this stage."""
        return self.guards.verdict(self.stage.pairs)

    def reports(self) -> tuple[GuardReport, ...]:
        """What each guard says, for this stage."""
        return self.guards.reports(self.stage.pairs)

    def judge(self, pairs: Sequence[Pair]) -> GuardReport | None:
        """Take `pairs` as evidence; the first breach of a guard if there is one."""
        counted = [self._compare(pair) for pair in pairs if self._counts(pair)]
        if not counted:
            return None
        for judged in counted:
            self._count(judged)
        breach = self.guards.observe(counted, self._clock.monotonic())
        if breach is None:
            self.step(len(counted))
        return breach

    def step(self, judged: int = 0) -> bool:
        """Let the release move on if its evidence and time suffice; whether it did."""
        before = self.progress.stage
        now = self._clock.wall()
        self.progress = plan.step(
            self.settings.plan, self.progress, judged=judged, verdict=self.verdict, now=now
        )
        return self.progress.stage != before

    def rearm(self, evidence_since: int) -> None:
        """Forget the evidence and start again from shadow: pairs count from `evidence_since` on."""
        self.guards.reset()
        self.progress = plan.rearmed(self.settings.plan, self._clock.wall())
        self.evidence_since = evidence_since
        self.tally = Tally(stale=self.tally.stale)
        self.breakers.clear()
        self.last_served_at = None

    def record(self, cleared: int) -> EndpointRecord:
        """What has to survive a restart."""
        tally = self.tally
        return EndpointRecord(
            release=self.release,
            incumbent=self.settings.incumbent.name,
            stage=self.progress.stage,
            stage_pairs=self.progress.pairs,
            stage_since=self.progress.since,
            evidence_since=self.evidence_since,
            cleared=cleared,
            guards=self.guards.dump(),
            tally=(tally.judged, tally.flips, tally.faults, tally.stale),
            last_trip=self.last_trip,
        )

    def restore(self, record: EndpointRecord, cleared: int) -> str | None:
        """Go on where `record` was written; why the evidence starts anew, or None when it did not have to.

        `cleared` is how many kills are cleared by now. `evidence_since` stays as given to the constructor
        when the record belongs to another trial.
        """
        self.last_trip = record.last_trip
        if record.release != self.release or record.incumbent != self.settings.incumbent.name:
            return "other versions are on trial now"
        if record.cleared != cleared:
            self.progress = plan.rearmed(self.settings.plan, self._clock.wall())
            return "the endpoint was re-armed after the evidence was kept"
        self.progress = Progress(record.stage, record.stage_pairs, record.stage_since)
        try:
            self.guards.load(record.guards)
        except ValueError as error:
            return f"the guards are others now ({error})"
        self.evidence_since = record.evidence_since
        self.tally = Tally(*record.tally)
        return None

    def succeed(self, earlier: Judge) -> str | None:
        """Take over from `earlier`, the judge before a reload.

        Answers why the evidence starts anew, None if it does not. Another candidate, or another incumbent
        to compare with, is another trial.
        """
        self.last_trip = earlier.last_trip
        if earlier.release != self.release or earlier.settings.incumbent.name != self.settings.incumbent.name:
            return "other versions are on trial now"
        self.progress = earlier.progress
        self.showcase = earlier.showcase
        self.evidence_since = earlier.evidence_since
        self.breakers = earlier.breakers
        self.last_served_at = earlier.last_served_at
        if (self.settings.compare, self.settings.protocol) != (
            earlier.settings.compare,
            earlier.settings.protocol,
        ):
            return "predictions are compared in another way now"
        try:
            self.guards.load(earlier.guards.dump())
        except ValueError as error:
            return f"the guards are others now ({error})"
        self.tally = earlier.tally
        return None

    def ignore(self, pairs: Sequence[Pair]) -> None:
        """`pairs` came while the candidate is out: late ones, which change nothing."""
        for pair in pairs:
            self._late(pair)

    def _counts(self, pair: Pair) -> bool:
        """Whether `pair` is evidence of this trial."""
        on_trial = (
            pair.generation >= self.evidence_since
            and pair.candidate.version == self.candidate
            and pair.incumbent.version == self.settings.incumbent.name
            and _finite(pair)
        )
        if not on_trial:
            self._late(pair)
        elif pair.served is Arm.CANDIDATE:
            self.last_served_at = max(self.last_served_at or 0.0, _ended(pair))
        return on_trial

    def _late(self, pair: Pair) -> None:
        """Of a pair from before the last trip one thing matters: until when clients got the candidate."""
        self.tally.stale += 1
        self._gauges.stale()
        trip = self.last_trip
        if trip is None or pair.served is not Arm.CANDIDATE or not _finite(pair):
            return
        if pair.generation < trip.generation and pair.candidate.version == trip.version:
            self.last_trip = trip.served(_ended(pair))

    def _compare(self, pair: Pair) -> JudgedPair:
        if not (pair.incumbent.ok and pair.candidate.ok):
            return JudgedPair(pair, None, None)
        try:
            return JudgedPair(pair, self.comparison.compare(pair.incumbent.body, pair.candidate.body), None)
        except ComparatorFault as fault:
            self._gauges.unreadable(self.settings.name, fault.arm)
            if fault.arm is Arm.CANDIDATE:
                return JudgedPair(pair, Divergence(1.0, True, fault.reason), None)
            return JudgedPair(pair, None, fault.reason)

    def _count(self, judged: JudgedPair) -> None:
        self.tally.judged += 1
        self.tally.flips += judged.divergence is not None and judged.divergence.flip
        self.tally.faults += judged.fault is not None
        self.showcase.put(judged)
        self._gauges.judged(self.settings.name, judged)


def _finite(pair: Pair) -> bool:
    return all(map(math.isfinite, (pair.at, pair.incumbent.latency, pair.candidate.latency)))


def _ended(pair: Pair) -> float:
    return pair.at + pair.candidate.latency
