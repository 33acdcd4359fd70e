"""A drill: a rehearsed rollback. What it does, how it goes, and what it has shown.

The problem: a way back that nobody has ever taken is a belief. A drill makes the candidate answer badly on
purpose and measures how long clients would have had bad answers: from the first bad answer to the last. Only
the fault is staged. That it is seen, that the switch trips, that every worker obeys, has to happen by itself.

The guarantee: a drill never passes unless it was seen to work. Bad answers went out, a guard or a breaker
tripped the switch because of them, every worker and every replica confirmed, and the last bad answer came
soon enough. Whatever else ends a drill, an operator's kill, its time, another configuration, a process that
died, fails it, with the reason.

All transitions are in one table. Times are seconds on one monotonic clock of one machine, which the gateway's
workers and its control process share, so that a clock that is set does not bend the figures.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from cronsim import CronSim

from domain.routing import Mode
from domain.snapshot import Fault
from settings.drills import DrillSettings
from settings.schema import EndpointSettings, GuardSettings, Stage

PRODUCTION: Final = "production"
"""What an environment is called where clients must never get a spoilt answer; so is one that has no name."""

TABLE_PROTOCOLS: Final = frozenset({"v2", "mlflow", "tfserving", "seldon", "json"})
TEXTS: Final = frozenset({"text", "boxes"})
"""Kinds of predictions that have no numbers, or none that noise makes another prediction of."""


class Phase(enum.StrEnum):
    """Where a drill stands."""

    FAULTY = "faulty"  # answers are spoilt, and nobody has noticed yet
    TRIPPED = "tripped"
    CONFIRMED = "confirmed"  # nothing new is asked of the candidate; what was asked is still under way
    PASSED = "passed"
    FAILED = "failed"

    @property
    def is_open(self) -> bool:
        """Whether it goes on."""
        return self not in (Phase.PASSED, Phase.FAILED)


class Trigger(enum.StrEnum):
    """What makes a drill take a step."""

    FELL = "the fault tripped the switch"
    CONFIRMED = "every worker and replica confirmed"
    IN_TIME = "the last bad answer came in time"
    SHORT = "something is missing"
    UNNOTICED = "its time is over and nothing tripped"
    CALLED_OFF = "something else ended it"


TRANSITIONS: Final[Mapping[tuple[Phase, Trigger], Phase]] = {
    (Phase.FAULTY, Trigger.FELL): Phase.TRIPPED,
    (Phase.FAULTY, Trigger.UNNOTICED): Phase.FAILED,
    (Phase.FAULTY, Trigger.CALLED_OFF): Phase.FAILED,
    (Phase.TRIPPED, Trigger.CONFIRMED): Phase.CONFIRMED,
    (Phase.TRIPPED, Trigger.SHORT): Phase.FAILED,
    (Phase.TRIPPED, Trigger.CALLED_OFF): Phase.FAILED,
    (Phase.CONFIRMED, Trigger.IN_TIME): Phase.PASSED,
    (Phase.CONFIRMED, Trigger.SHORT): Phase.FAILED,
    (Phase.CONFIRMED, Trigger.CALLED_OFF): Phase.FAILED,
}
"""Every step there is."""


class WrongStep(Exception):  # noqa: N818 - named after what was refused
    """There is no such step from where the drill stands."""


@dataclass(frozen=True, slots=True)
class Answers:
    """Bad answers of one worker, or of several together.

    `spoilt` were bad, `served` of them went to clients, `left` could not be altered. The times are of the
    first and the last bad one, and of those that were served; None where there was none.
    """

    spoilt: int = 0
    served: int = 0
    left: int = 0
    first: float | None = None
    last: float | None = None
    first_served: float | None = None
    last_served: float | None = None

    def joined(self, other: Answers) -> Answers:
        """Those of both."""
        return Answers(
            self.spoilt + other.spoilt,
            self.served + other.served,
            self.left + other.left,
            _least(self.first, other.first),
            _most(self.last, other.last),
            _least(self.first_served, other.first_served),
            _most(self.last_served, other.last_served),
        )


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """One drill.

    Attributes:
        id, endpoint, version: which candidate of which endpoint is made to answer badly.
        by: who asked for it: `operator` or `schedule`.
        fault, share, served: what is done to which share (of one) of its answers, and to whose.
        limit: seconds that the recovery may take.
        began: monotonic; `at` is the same instant on the wall clock, seconds since the epoch.
        reason: why it stands where it does.
        breach, tripped, confirmed: when that was, monotonic; None while, or if, it was not.
        cause: what tripped: guard:NAME or breaker.
        answers: the bad answers.
        detection_pairs, estimate, tolerance, evidence: the breached guard's numbers.
        pairs, requests, failed_requests: judged, and clients' while it lasted; failed are answers of 5xx.
        restored: the trial goes on with the evidence that it had before.
    """

    id: str
    endpoint: str
    version: str
    by: str
    fault: Fault
    share: float
    served: bool
    limit: float
    began: float
    at: float
    phase: Phase = Phase.FAULTY
    reason: str = "begun"
    breach: float | None = None
    tripped: float | None = None
    confirmed: float | None = None
    cause: str = ""
    answers: Answers = Answers()
    detection_pairs: int | None = None
    estimate: float | None = None
    tolerance: float | None = None
    evidence: float | None = None
    pairs: int = 0
    requests: int = 0
    failed_requests: int = 0
    restored: bool = True

    def step(self, trigger: Trigger, reason: str = "") -> Rehearsal:
        """Where it stands after `trigger`. Raises WrongStep."""
        target = TRANSITIONS.get((self.phase, trigger))
        if target is None:
            raise WrongStep(f"a drill that is {self.phase} takes no step by: {trigger}")
        return replace(self, phase=target, reason=reason or trigger.value)

    @property
    def is_own(self) -> bool:
        """Whether the fault can be what tripped the switch: a bad answer had gone out before."""
        first, breach = self.answers.first, self.breach
        return first is not None and breach is not None and first <= breach

    def judged(self, *, unasked: bool) -> Rehearsal:
        """The step after all answers are in: passed, or failed for what is missing.

        `unasked`: clients were to be served by the candidate, and it served none.
        """
        missing = self._missing(unasked=unasked)
        if missing is not None:
            return self.step(Trigger.SHORT, missing)
        recovery = self.recovery or 0.0
        return self.step(Trigger.IN_TIME, f"recovered in {recovery * 1000:.0f} ms by {self.cause}")

    def _missing(self, *, unasked: bool) -> str | None:
        recovery = self.recovery
        if self.answers.spoilt == 0 or recovery is None:
            return f"no answer was spoilt; {self.answers.left} could not be altered"
        if not self.is_own:
            return "the switch tripped before the first bad answer: it was not the fault"
        if unasked and self.answers.served == 0:
            return "no client got a spoilt answer: the flag exposes nobody, or nobody asked"
        if recovery > self.limit:
            return f"recovered in {recovery:.3f} s, which is more than the {self.limit:g} s allowed"
        return None

    @property
    def _span(self) -> tuple[float | None, float | None]:
        """First and last bad answer: those that clients got, if any did."""
        answers = self.answers
        if answers.served:
            return answers.first_served, answers.last_served
        return answers.first, answers.last

    @property
    def recovery(self) -> float | None:
        """Seconds from the first bad answer to the last; None where nothing tripped, or none was bad."""
        first, last = self._span
        if first is None or last is None or self.tripped is None:
            return None
        return max(0.0, last - first)

    @property
    def after_detection(self) -> float | None:
        """Seconds from the breach to the last bad answer; 0 when that came first."""
        last = self._span[1]
        return None if last is None or self.breach is None else max(0.0, last - self.breach)

    def report(self) -> dict[str, object]:
        """As `pointsman drill run --json` prints it."""
        first, last = self._span
        recovery, after = self.recovery, self.after_detection
        return {
            "id": self.id,
            "endpoint": self.endpoint,
            "version": self.version,
            "state": self.phase.value,
            "passed": self.phase is Phase.PASSED,
            "reason": self.reason,
            "by": self.by,
            "fault": self.fault.value,
            "share": self.share,
            "served": self.served,
            "tripped": self.tripped is not None,
            "cause": self.cause,
            "requests": self.requests,
            "failed_requests": self.failed_requests,
            "pairs": self.pairs,
            "spoilt": self.answers.spoilt,
            "spoilt_served": self.answers.served,
            "unaltered": self.answers.left,
            "began_at": self._time(self.began),
            "first_bad_at": self._time(first),
            "breach_at": self._time(self.breach),
            "trip_at": self._time(self.tripped),
            "last_bad_served_at": self._time(last if self.tripped is not None else None),
            "confirmed_at": self._time(self.confirmed),
            "recovery_ms": _milliseconds(recovery),
            "after_detection_ms": _milliseconds(after),
            "confirmed_ms": _milliseconds(_between(self.breach, self.confirmed)),
            "limit_ms": self.limit * 1000,
            "detection_pairs": self.detection_pairs,
            "estimate": self.estimate,
            "tolerance": self.tolerance,
            "evidence": self.evidence,
            "restored": self.restored,
        }

    def _time(self, monotonic: float | None) -> str | None:
        if monotonic is None:
            return None
        at = self.at + monotonic - self.began
        return datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds")


def refusal(
    settings: EndpointSettings, drill: DrillSettings, environment: str, stage: Stage, *, tripped: bool
) -> str | None:
    """Why this drill must not run now, with the way out; None when it may.

    `environment` is the gateway's own, `stage` where the release is.
    """
    if settings.candidate is None:
        return "the endpoint has no candidate, so that there is nobody to answer badly"
    if tripped:
        return "the endpoint is tripped: re-arm it first, a drill proves nothing while the candidate is out"
    if drill.environment is not None and drill.environment != environment:
        return (
            f"drills of this endpoint run in environment {drill.environment!r}, and this gateway's is "
            f"{environment!r}: see the key environment"
        )
    if environment == PRODUCTION:
        if drill.served:
            return (
                "in production clients never get a spoilt answer: leave drills.served out, or run the drill "
                "where environment says otherwise"
            )
        if stage.weight or stage.mode is Mode.GUARDED:
            return (
                "in production a drill touches mirrors only, and a trip would move the clients that the "
                "candidate serves: run it while the release is in shadow, or in another environment"
            )
    return _unalterable(settings, drill) or _unseen(settings.guards, drill.fault)


def _unalterable(settings: EndpointSettings, drill: DrillSettings) -> str | None:
    if drill.fault is Fault.NOISE:
        if settings.protocol not in TABLE_PROTOCOLS or settings.compare.kind in TEXTS:
            return (
                f"noise needs numbers: {settings.protocol} answers compared as {settings.compare.kind} have "
                "none; take the fault flip"
            )
    elif drill.fault is Fault.LATENCY and drill.latency <= 0:
        return "the fault latency adds drills.latency, which is 0"
    return None


def _unseen(guards: GuardSettings, fault: Fault) -> str | None:
    """No guard could see it: nothing would trip, and nothing would be proved."""
    predictions = guards.mirrored and (
        guards.flips is not None or guards.divergence is not None or guards.classes is not None
    )
    sees = {
        Fault.FLIP: predictions,
        Fault.NOISE: predictions,
        Fault.JSON: predictions,
        Fault.ERROR: guards.errors is not None or guards.breaker > 0,
        Fault.LATENCY: guards.latency is not None and guards.mirrored,
    }
    if sees[fault]:
        return None
    needed = {
        Fault.ERROR: "guards.errors or guards.breaker",
        Fault.LATENCY: "guards.latency, and mirrored requests",
    }
    wanted = needed.get(fault, "guards.flips, divergence or classes, and mirrored requests")
    return f"no guard could see the fault {fault.value}, so that nothing would trip: configure {wanted}"


def staged(settings: DrillSettings, stage: Stage) -> Stage:
    """The stage that a drill runs in: where clients are to get bad answers, somebody has to be served."""
    if not settings.served or stage.weight or stage.mode is not Mode.SHADOW:
        return stage
    return Stage(Mode.CANARY, settings.weight)


def next_due(every: str, after: float) -> float:
    """When a schedule is due next after `after`; both in seconds since the epoch. Schedules are in UTC."""
    moment: datetime = next(CronSim(every, datetime.fromtimestamp(after, UTC)))
    return moment.timestamp()


def last_due(every: str, before: float) -> float:
    """When it was due last before `before`."""
    moment: datetime = next(CronSim(every, datetime.fromtimestamp(before, UTC), reverse=True))
    return moment.timestamp()


GRACE: Final = 900.0
"""Seconds after it was due for which a drill is not overdue yet."""


def overdue(every: str, now: float, known_since: float) -> bool:
    """Whether a drill that was due has not been run. `known_since`: when the last one began, or, where there
    was none, since when the schedule is known. Seconds since the epoch."""
    return last_due(every, now - GRACE) > known_since


def _between(first: float | None, last: float | None) -> float | None:
    return None if first is None or last is None else max(0.0, last - first)


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)


def _least(one: float | None, other: float | None) -> float | None:
    found = [value for value in (one, other) if value is not None]
    return min(found, default=None)


def _most(one: float | None, other: float | None) -> float | None:
    found = [value for value in (one, other) if value is not None]
    return max(found, default=None)
