"""What the clients saw and what the gateway says it did, put on one time line. Pure.

A *bad prediction* is an answer that a client got from the candidate and whose probability of rain is not the
one that the healthy candidate gives for that day (further away than BAD_BEYOND). It does not depend on any
clock: the healthy candidate's answer for every replayed day is known beforehand.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from examples.rain.traffic import Answer

BAD_BEYOND = 0.001
"""Healthy answers agree with the forecast to rounding; a tenth of a percent of probability is no rounding."""


@dataclass(slots=True)
class Ledger:
    """What the timeline needs of every answer. `healthy`: rain-2's probability for each replayed day."""

    healthy: Sequence[float]
    arms: Counter[str] = field(default_factory=Counter)
    bad: int = 0
    wrong: int = 0
    first_bad_at: float | None = None
    last_bad_at: float | None = None
    slowest: float = 0.0

    def add(self, answer: Answer) -> None:
        """Take note of one answer; answers may come in any order."""
        self.arms[answer.arm] += 1
        self.slowest = max(self.slowest, answer.latency)
        expected = self.healthy[answer.day]
        if answer.arm != "candidate" or abs(answer.probability - expected) <= BAD_BEYOND:
            return
        self.bad += 1
        self.wrong += (answer.probability >= 0.5) != (expected >= 0.5)
        self.first_bad_at = answer.at if self.first_bad_at is None else min(self.first_bad_at, answer.at)
        self.last_bad_at = answer.at if self.last_bad_at is None else max(self.last_bad_at, answer.at)


@dataclass(frozen=True, slots=True)
class Timeline:
    """The whole story. Instants are wall clock, in seconds since the epoch; None for what did not happen.

    `failures` counts failed client requests by reason; `wrong` the bad predictions that also turned rain into
    no rain or back; `estimate`, `tolerance` and `evidence` are the guard's at the breach.
    """

    tripped: bool
    cause: str
    sentence: str
    requests: int
    failures: Mapping[str, int]
    pairs: int
    bad: int
    wrong: int
    changed_at: float
    first_bad_at: float | None
    breach_at: float | None
    trip_at: float | None
    last_bad_served_at: float | None
    confirmed_at: float | None
    detection_pairs: int | None
    estimate: float | None
    tolerance: float | None
    evidence: float | None

    @property
    def failed_requests(self) -> int:
        return sum(self.failures.values())

    @property
    def recovery_ms(self) -> float | None:
        """First bad answer → last bad answer served."""
        if self.first_bad_at is None or self.last_bad_served_at is None:
            return None
        return (self.last_bad_served_at - self.first_bad_at) * 1000

    @property
    def succeeded(self) -> bool:
        """The switch tripped by itself and no client noticed anything but answers."""
        return self.tripped and self.cause.startswith("guard:") and self.failed_requests == 0

    def document(self) -> dict[str, object]:
        """The one JSON object of `--json`."""
        return {
            "tripped": self.tripped,
            "cause": self.cause,
            "requests": self.requests,
            "failed_requests": self.failed_requests,
            "pairs": self.pairs,
            "first_bad_at": iso(self.first_bad_at),
            "breach_at": iso(self.breach_at),
            "trip_at": iso(self.trip_at),
            "last_bad_served_at": iso(self.last_bad_served_at),
            "confirmed_at": iso(self.confirmed_at),
            "recovery_ms": None if self.recovery_ms is None else round(self.recovery_ms, 3),
            "detection_pairs": self.detection_pairs,
            "estimate": self.estimate,
            "tolerance": self.tolerance,
            "evidence": self.evidence,
        }

    def events(self) -> list[tuple[float, str]]:
        """What happened when, in order."""
        known = (
            (self.changed_at, "the candidate's feature pipeline changes: same schema, HTTP 200"),
            (self.first_bad_at, "first bad prediction served"),
            (self.breach_at, f"breach: {self.sentence}"),
            (self.trip_at, "trip: the candidate is out"),
            (self.last_bad_served_at, "last bad prediction served"),
            (self.confirmed_at, "every worker has confirmed"),
        )
        return sorted(((at, words) for at, words in known if at is not None), key=lambda event: event[0])


def join(
    endpoint: Mapping[str, Any], ledger: Ledger, requests: int, failures: Mapping[str, int], changed_at: float
) -> Timeline:
    """`endpoint` is the admin API's answer for the endpoint, taken when the traffic has ended."""
    trip: Mapping[str, Any] = endpoint.get("last_trip") or {}
    return Timeline(
        tripped=bool(endpoint["switch"]["tripped"]),
        cause=trip.get("cause", ""),
        sentence=trip.get("sentence", ""),
        requests=requests,
        failures=dict(failures),
        pairs=endpoint["pairs"]["judged"],
        bad=ledger.bad,
        wrong=ledger.wrong,
        changed_at=changed_at,
        first_bad_at=ledger.first_bad_at,
        breach_at=seconds(trip.get("breach_at")),
        trip_at=seconds(trip.get("trip_at")),
        last_bad_served_at=ledger.last_bad_at,
        confirmed_at=seconds(trip.get("confirmed_at")),
        detection_pairs=trip.get("detection_pairs"),
        estimate=trip.get("estimate"),
        tolerance=trip.get("tolerance"),
        evidence=trip.get("evidence"),
    )


def iso(at: float | None) -> str | None:
    """UTC with microseconds and offset."""
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds")


def seconds(text: str | None) -> float | None:
    """The reverse of `iso`."""
    return None if text is None else datetime.fromisoformat(text).timestamp()
