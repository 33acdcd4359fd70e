"""A trip as it is told afterwards: what was seen, when the switch fell, and when it was true everywhere."""

from __future__ import annotations

from dataclasses import dataclass, replace

from domain.kill import Kill
from killswitch.guards import GuardReport

OPERATOR = "operator"
BREAKER = "breaker"


@dataclass(frozen=True, slots=True)
class Trip:
    """The last trip of an endpoint. Times are wall clock, seconds since the epoch.

    Attributes:
        kill: the id of the kill.
        cause: operator, breaker, or guard:NAME.
        version: the candidate that went out.
        generation: the first snapshot without it.
        first_bad_at: when the breached guard's signal went bad, as estimated (`GuardReport.rising_since`);
            None when no guard breached.
        breach_at: when it was known that the candidate has to go.
        trip_at: when the snapshot without it was pushed to the workers.
        confirmed_at: when the last connected worker had applied it; None while, or if, one has not.
        trip_ms: breach to last confirmation, on a monotonic clock.
        last_bad_served_at: the end of the last answer of the candidate that a client got, if any did.
        detection_pairs: votes from `first_bad_at` to the breach.
        estimate, tolerance, evidence, sentence: the breached guard's numbers, and the same in words.
    """

    kill: str
    cause: str
    reason: str
    version: str
    generation: int
    breach_at: float
    trip_at: float
    first_bad_at: float | None = None
    confirmed_at: float | None = None
    trip_ms: float | None = None
    last_bad_served_at: float | None = None
    detection_pairs: int | None = None
    estimate: float | None = None
    tolerance: float | None = None
    evidence: float | None = None
    sentence: str | None = None

    def confirmed(self, after: float) -> Trip:
        """With the last confirmation `after` seconds after the breach."""
        return replace(self, confirmed_at=self.breach_at + after, trip_ms=after * 1000)

    def served(self, at: float) -> Trip:
        """With an answer of the candidate that ended `at`; one earlier than those known changes nothing."""
        if self.last_bad_served_at is not None and self.last_bad_served_at >= at:
            return self
        return replace(self, last_bad_served_at=at)

    @property
    def recovery(self) -> float | None:
        """Seconds from `first_bad_at` to the last bad answer served; None when no guard saw it."""
        if self.first_bad_at is None or self.last_bad_served_at is None:
            return None
        return max(0.0, self.last_bad_served_at - self.first_bad_at)


@dataclass(frozen=True, slots=True)
class Fallen:
    """A kill that is applied. `began` is monotonic; `first` says that the candidate was in before; `applied`
    is when the workers were told, monotonic.
    """

    kill: Kill
    generation: int
    cause: str
    began: float
    first: bool
    applied: float = 0.0


@dataclass(frozen=True, slots=True)
class Settled:
    """A kill once workers, disk and the other replicas were asked.

    `confirmed_ms` is None when a worker did not answer; `shared` says whether the shared state has the kill,
    None where nothing is shared.
    """

    kill: Kill
    generation: int
    confirmed_ms: float | None
    workers: int
    durable: bool
    shared: bool | None = None


def cause(kill: Kill) -> str:
    """What a kill that was heard of is counted under: as `Trip.cause`, by who killed."""
    kind = kill.actor.partition(":")[0]
    return {"guard": kill.actor, "breaker": BREAKER}.get(kind, OPERATOR)


def story(
    kill: Kill, cause: str, generation: int, now: float, served_at: float | None, breach: GuardReport | None
) -> Trip:
    """The story so far; `served_at` is when the last answer of the candidate ended."""
    trip = Trip(kill.id, cause, kill.reason, kill.version, generation, breach_at=kill.at, trip_at=now)
    if breach is None:
        return trip if served_at is None else trip.served(served_at)
    trip = Trip(
        kill.id, cause, kill.reason, kill.version, generation, breach_at=kill.at, trip_at=now,
        first_bad_at=breach.rising_since, detection_pairs=breach.rising_count, estimate=breach.estimate,
        tolerance=breach.limit, evidence=breach.evidence, sentence=breach.sentence,
    )  # fmt: skip
    before = served_at is None or (breach.rising_since is not None and served_at < breach.rising_since)
    return trip if before or served_at is None else trip.served(served_at)
