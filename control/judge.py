"""One endpoint's trial: its pairs compared, its guards fed, its release's progress.

What counts as evidence. A pair counts only if it was decided by a generation in which this trial ran
(`evidence_since`) and shows the very versions that are on trial. Pairs that were under way when the
candidate went out, when it was armed again, or when the configuration named another one, are stale: they
are counted as such and change nothing. So a re-arm cannot be undone by answers from before it, and a new
candidate never answers for the old one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import msgspec
import orjson

from comparators.comparison import Comparison
from comparators.path_noise import PathNoise
from control.clock import Clock
from control.cohorts import Cohorts
from control.compared import Compared, Wanted, compare, heavy
from control.records import SET_ASIDE, EndpointRecord
from control.remembered import Accuracy, Memory
from control.showcase import Showcase
from control.stretches import Stretches
from control.trip import Trip
from domain.observation import Pair
from domain.routing import Arm, Mode
from domain.verdict import Verdict
from gates import plan
from gates.plan import Progress
from gates.result import version_digest
from killswitch.cohorts import LabelledPair
from killswitch.columns import JudgedPair
from killswitch.evidence_log import Evidence, Moved
from killswitch.guards import FeatureReference, GuardReport, GuardSet, Request
from settings.schema import EndpointSettings, Stage
from shadow.wire import BreakerOpened, RequestCounts

DOCUMENTS = frozenset({"json", "text"})
"""Kinds whose findings name the paths that differ."""


class Gauges(Protocol):
    """What is counted while judging."""

    def judged(self, endpoint: str, judged: Sequence[JudgedPair]) -> None:
        """Pairs counted as evidence."""

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

    def __init__(
        self,
        settings: EndpointSettings,
        gauges: Gauges,
        clock: Clock,
        evidence_since: int,
        references: Sequence[FeatureReference] = (),
    ) -> None:
        """Raises ConfigError when the settings' comparison or guards make no sense.

        `evidence_since` is the first generation whose pairs count; `references` are what the features of
        requests are compared with, none where that is learned. `may_move` says whether the release may take
        a step at all; taking it out never asks.
        """
        self.settings = settings
        self.comparison = Comparison(
            settings.protocol, settings.compare, f"endpoints.{settings.name}.compare"
        )
        self.guards = GuardSet(settings.guards, references)
        self.progress = plan.start(clock.wall())
        self.evidence_since = evidence_since
        self.tally = Tally()
        self.showcase = Showcase()
        self.last_trip: Trip | None = None
        self.breakers: dict[int, str] = {}
        self.last_served_at: float | None = None
        # A drill has taken its place, and is not to leave a trace in it.
        self.aside = False
        self.may_move: Callable[[], bool] = lambda: True
        # Until its release was read, nobody is served by a candidate that has to pass gates first.
        self.ruled = settings.released
        self.placed: Stage | None = Stage(Mode.SHADOW) if self.ruled else None
        self._gauges = gauges
        self._clock = clock
        self._stretches = Stretches()
        self._begin()

    def _begin(self) -> None:
        """All that explains the evidence starts anew with it."""
        settings = self.settings
        watched = settings.guards.accuracy is not None
        self.paths = PathNoise() if settings.compare.kind in DOCUMENTS else None
        self.cohorts = self._no_cohorts()
        self.memory = Memory(settings.compare.labels) if watched else None
        self.accuracy = Accuracy()
        self._stretches.clear()
        self._reported: tuple[Stage, tuple[GuardReport, ...]] | None = None

    def _no_cohorts(self) -> Cohorts:
        guards = self.settings.guards
        flips = guards.flips is not None or guards.divergence is None
        return Cohorts(self.settings.cohorts, flips=flips, noisy=guards.noisy, window=guards.vote_window)

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
        """The stage of the plan that the release is in, or what its release gives it beside the plan."""
        return self.placed or plan.current(self.settings.plan, self.progress)

    @property
    def restart(self) -> int:
        """Where in the plan a re-armed trial starts. Where nothing is mirrored shadow would never end."""
        stages = self.settings.plan
        return plan.rearmed(stages, 0.0).stage if self.settings.guards.mirrored else plan.start(0.0).stage

    def rule(self, placed: Stage | None) -> None:
        """Its steps are taken by a release, which gives it `placed`; None: what its stage says."""
        self.ruled, self.placed, self._reported = True, placed, None

    def free(self) -> None:
        """No release rules it: it moves by its plan alone."""
        self.ruled, self.placed, self._reported = False, None, None

    @property
    def verdict(self) -> Verdict:
        """The worst of the guards' verdicts, for this stage."""
        return self.guards.verdict(self.stage.pairs)

    def reports(self) -> tuple[GuardReport, ...]:
        """What each guard says, for this stage."""
        stage = self.stage
        if self._reported is None or self._reported[0] is not stage:
            self._reported = stage, self.guards.reports(stage.pairs)
        return self._reported[1]

    def judge(self, pairs: Sequence[Pair]) -> GuardReport | None:
        """Take `pairs` as evidence; the first breach of a guard if there is one."""
        return self.hear(self.compare(self.admit(pairs)))

    def admit(self, pairs: Sequence[Pair]) -> list[Pair]:
        """Those of `pairs` that are evidence of this trial; the others are late."""
        return [pair for pair in pairs if self._counts(pair)]

    @property
    def wanted(self) -> Wanted:
        """The features to read of requests."""
        return Wanted(tuple(self.cohorts.features), self.guards.features)

    def heavy(self, pairs: Sequence[Pair]) -> bool:
        """Whether comparing `pairs` may take longer than a loop can wait."""
        return heavy(pairs, self.settings.compare.kind)

    def compare(self, pairs: Sequence[Pair]) -> Compared:
        """What is in `pairs`. Changes nothing."""
        return compare(self.comparison, pairs, self.wanted)

    def hear(self, compared: Compared) -> GuardReport | None:
        """Take what was compared as evidence; the first breach of a guard if there is one."""
        return self._moved_on(self.read(compared))

    def read(self, compared: Compared) -> Evidence | None:
        """What was compared, as evidence for `take`; None when there is none. It is shown and explained."""
        judged = compared.judged
        if not judged:
            return None
        now = self._clock.monotonic()
        for arm in compared.unreadable:
            self._gauges.unreadable(self.settings.name, arm)
        self._count(judged)
        self._explain(compared, now)
        requests = [
            Request(judged[index].pair.unit, judged[index].pair.at, one.watched)
            for index, one in compared.features.items()
            if one.watched
        ]
        flips = sum(one.divergence is not None and one.divergence.flip for one in judged)
        faults = sum(one.fault is not None for one in judged)
        part = self.guards.read(judged, now, requests)
        return Evidence(self._clock.wall(), (part,), len(judged), flips, faults)

    def count(self, counts: Sequence[RequestCounts]) -> GuardReport | None:
        """Take requests that reached one arm each as evidence, where none reaches both."""
        return self._moved_on(self.read_counts(counts))

    def read_counts(self, counts: Sequence[RequestCounts]) -> Evidence | None:
        """The same as evidence for `take`; None while it is too little."""
        if self.settings.guards.mirrored or self.settings.guards.errors is None:
            return None
        versions = {Arm.INCUMBENT.value: self.settings.incumbent.name, Arm.CANDIDATE.value: self.candidate}
        self._stretches.add(counts, versions, self._clock.wall())
        stretch = self._stretches.take()
        if stretch is None:
            return None
        incumbent, candidate, _ = stretch
        votes = min(incumbent.requests, candidate.requests)
        return Evidence(self._clock.wall(), (self.guards.read_counts(*stretch),), votes, counted=False)

    def hear_labels(self, labelled: Sequence[LabelledPair]) -> GuardReport | None:
        """Take labelled pairs as evidence; the first breach of a guard if there is one."""
        return self._moved_on(self.read_labels(labelled))

    def read_labels(self, labelled: Sequence[LabelledPair]) -> Evidence | None:
        """The same as evidence for `take`; None when it says nothing."""
        part = self.guards.read_labels(labelled)
        return Evidence(self._clock.wall(), (part,)) if part.cohorts else None

    def take(self, evidence: Evidence) -> GuardReport | None:
        """Evidence, read here or at another replica; the first breach of a guard if there is one."""
        self._reported = None
        if evidence.counted:
            self.tally.judged += evidence.pairs
            self.tally.flips += evidence.flips
            self.tally.faults += evidence.faults
        breach = self.guards.merge(evidence.parts)
        if breach is None:
            self.progress = replace(self.progress, pairs=self.progress.pairs + evidence.pairs)
        return breach

    def _moved_on(self, evidence: Evidence | None) -> GuardReport | None:
        if evidence is None:
            return self.guards.breach
        breach = self.take(evidence)
        if breach is None:
            self.step()
        return breach

    def due(self) -> Progress | None:
        """Where the release would step to now, by its evidence and time; None while it stays."""
        before, now, stages = self.progress, self._clock.wall(), self.settings.plan
        if self.ruled:
            return None
        moved = plan.step(stages, before, judged=0, verdict=Verdict.PASS, now=now)
        if moved.stage != before.stage:
            # Only here the verdict matters, which takes a look at every guard.
            verdict = self.verdict if self.may_move() else Verdict.INCONCLUSIVE
            moved = plan.step(stages, before, judged=0, verdict=verdict, now=now)
        return moved if moved.stage != before.stage else None

    def step(self) -> bool:
        """Let the release move on if its evidence and time suffice; whether it did."""
        due = self.due()
        if due is not None:
            self.progress = due
        return due is not None

    def move(self, moved: Moved) -> bool:
        """Take a step that the leader took; False when the release is elsewhere, or has no such stage."""
        if self.progress.stage != moved.before or not 0 <= moved.stage < len(self.settings.plan):
            return False
        self.progress = Progress(moved.stage, 0, moved.since)
        return True

    def standing(self) -> bytes:
        """The evidence and how far the release is, for another replica's `adopt`."""
        progress, tally = self.progress, self.tally
        return msgspec.msgpack.encode(
            _Standing(
                self.guards.dump(),
                (progress.stage, progress.pairs, progress.since),
                (tally.judged, tally.flips, tally.faults),
            )
        )

    def adopt(self, standing: bytes) -> None:
        """Go on from the evidence of another replica. Raises ValueError when it is of other guards."""
        try:
            its = msgspec.msgpack.decode(standing, type=_Standing)
        except msgspec.MsgspecError as error:
            raise ValueError(f"not the evidence of a replica: {error}") from error
        self.guards.adopt(its.guards)
        self._reported = None
        self.progress = Progress(*its.progress)
        self.tally.judged, self.tally.flips, self.tally.faults = its.tally

    def rearm(self, evidence_since: int) -> None:
        """Forget the evidence and start again from shadow: pairs count from `evidence_since` on."""
        if self.ruled:  # what the release had reached before the trip holds no more
            self.placed = Stage(Mode.SHADOW)
        self.guards.reset()
        self._begin()
        now = self._clock.wall()
        # Where nothing is mirrored a shadow stage would never end: the plan begins anew.
        mirrored = self.settings.guards.mirrored
        self.progress = plan.rearmed(self.settings.plan, now) if mirrored else plan.start(now)
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
            evidence_since=SET_ASIDE if self.aside else self.evidence_since,
            cleared=cleared,
            guards=self.guards.dump(),
            tally=(tally.judged, tally.flips, tally.faults, tally.stale),
            last_trip=self.last_trip,
            cohorts=self.cohorts.keep(),
            paths=b"" if self.paths is None else orjson.dumps(self.paths.dump()),
        )

    def restore(self, record: EndpointRecord, cleared: int) -> str | None:
        """Go on where `record` was written; why the evidence starts anew, or None when it did not have to.

        `cleared` is how many kills are cleared by now. `evidence_since` stays as given to the constructor
        when the record belongs to another trial.
        """
        self.last_trip = record.last_trip
        self._reported = None
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
        if record.evidence_since != SET_ASIDE:  # what came from then on may be a drill's
            self.evidence_since = record.evidence_since
        self.tally = Tally(*record.tally)
        self._restore_explanation(record)
        return None

    def _restore_explanation(self, record: EndpointRecord) -> None:
        """Go on with cohorts and paths; where what is kept of them does not fit, they alone start anew."""
        try:
            if record.cohorts:
                self.cohorts.restore(record.cohorts)
            if record.paths and self.paths is not None:
                self.paths = PathNoise.load(orjson.loads(record.paths))
        except ValueError:
            self._begin()

    def succeed(self, earlier: Judge) -> str | None:
        """Take over from `earlier`, the judge before a reload.

        Answers why the evidence starts anew, None if it does not. Another candidate, or another incumbent
        to compare with, is another trial.
        """
        self.last_trip = earlier.last_trip
        if earlier.release != self.release or earlier.settings.incumbent.name != self.settings.incumbent.name:
            return "other versions are on trial now"
        self.progress = earlier.progress
        if earlier.ruled and _reached(self.settings) == _reached(earlier.settings):
            self.ruled, self.placed = True, earlier.placed
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
        self.paths = earlier.paths
        self.accuracy = earlier.accuracy
        if self.settings.cohorts == earlier.settings.cohorts and self._measures_as(earlier):
            self.cohorts = earlier.cohorts
        if self.memory is not None and earlier.memory is not None:
            self.memory = earlier.memory
        return None

    def _measures_as(self, earlier: Judge) -> bool:
        mine, theirs = self.cohorts, earlier.cohorts
        return (mine.flips, mine.noisy) == (theirs.flips, theirs.noisy)

    def counts_breaker(self, message: BreakerOpened) -> bool:
        """Whether a worker's breaker opened in this trial."""
        return message.version == self.candidate and message.generation >= self.evidence_since

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

    def _count(self, judged: Sequence[JudgedPair]) -> None:
        self.showcase.put(judged)
        self._gauges.judged(self.settings.name, judged)

    def _explain(self, compared: Compared, now: float) -> None:
        """Where it differs: by cohort, by path; and what labels will be held against."""
        judged = compared.judged
        read = compared.features if self.cohorts.features else {}
        features = {index: one.cohorts for index, one in read.items()}
        self.cohorts.take(judged, features, now)
        if self.paths is not None:
            for one in judged:
                if one.divergence is not None:
                    noise = None if one.noise is None else one.noise.paths
                    self.paths.observe(one.divergence.paths, noise)
        if self.memory is not None:
            for index, one in enumerate(judged):
                self.memory.put(one, self.cohorts.names(one.pair, features.get(index)))


class _Standing(msgspec.Struct, frozen=True, array_like=True):
    guards: bytes
    progress: tuple[int, int, float]
    tally: tuple[int, int, int]


def _reached(settings: EndpointSettings) -> tuple[str, ...]:
    """Which servers the versions are: the same name at another URL is not what was trusted."""
    versions = (settings.incumbent, settings.candidate)
    return tuple(version_digest(one, settings.path) for one in versions if one is not None)


def _finite(pair: Pair) -> bool:
    # A sum is finite when its parts are: one look instead of three, for every pair.
    return math.isfinite(pair.at + pair.incumbent.latency + pair.candidate.latency)


def _ended(pair: Pair) -> float:
    return pair.at + pair.candidate.latency
