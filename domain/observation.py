"""What was seen: one arm's outcome, two of them as a pair, and what a comparator finds in the pair."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import NamedTuple

from domain.routing import Arm


class Outcome(enum.StrEnum):
    """How an arm's part of an exchange ended."""

    ANSWERED = "answered"
    CONNECT = "connect"  # no connection: refused, unreachable, connect timeout
    TIMEOUT = "timeout"  # the answer was not whole in time
    PROTOCOL = "protocol"  # bytes that are not HTTP, or closed before the answer was whole
    OVERSIZE = "oversize"  # longer than we keep: no body
    FLOOD = "flood"  # many times longer than the incumbent's answer, and cut for that
    ABANDONED = "abandoned"  # the client left first: says nothing about the arm
    OVERLOAD = "overload"  # our own limits: says nothing about the arm

    @property
    def blames_the_arm(self) -> bool:
        """Whether this outcome is the model server's fault."""
        return self in _FAULTS


_FAULTS = frozenset({Outcome.CONNECT, Outcome.TIMEOUT, Outcome.PROTOCOL, Outcome.FLOOD})


class Observation(NamedTuple):
    """One arm's frozen outcome. (A named tuple, as Pair is: they are made twice a request, and travel.)

    `status` is 0 when no head came; `latency` in seconds, from the request to the answer's last byte;
    `media` says how the body is written: "" for JSON with no content coding, else `Media.text()`.
    """

    version: str
    outcome: Outcome
    status: int
    latency: float
    body: bytes
    media: str = ""

    @property
    def ok(self) -> bool:
        """Answered with a 2xx status."""
        return self.outcome is Outcome.ANSWERED and 200 <= self.status < 300

    @property
    def failed(self) -> bool:
        """An error of the arm: its server's fault, or any answer that is not 2xx."""
        if self.outcome is Outcome.ANSWERED:
            return not 200 <= self.status < 300
        return self.outcome.blames_the_arm


class Pair(NamedTuple):
    """Two observations of the same request, one per arm.

    `unit` is a 64-bit keyed digest of the unit, 0 when the request had none; `at` is the wall clock
    (seconds since the epoch) when the exchange began; `served` is the arm whose answer the client got.
    `repeat` is the incumbent asked a second time, whose difference from its first answer is noise.
    `request` is the request's body, kept only where an endpoint's settings read it; `request_media` says how
    it is written, as `Observation.media` does. `cohorts` has the value of each configured header, in order.
    """

    request_id: str
    endpoint: str
    unit: int
    generation: int
    served: Arm
    at: float
    incumbent: Observation
    candidate: Observation
    repeat: Observation | None = None
    request: bytes = b""
    request_media: str = ""
    cohorts: tuple[str | None, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of its bodies."""
        size = len(self.incumbent.body) + len(self.candidate.body) + len(self.request)
        return size if self.repeat is None else size + len(self.repeat.body)


class RowFinding(NamedTuple):
    """What a comparator finds in one row of a batch; the fields mean what they mean in Divergence."""

    score: float
    flip: bool
    incumbent_confidence: float | None = None
    candidate_confidence: float | None = None
    incumbent_label: str | None = None
    candidate_label: str | None = None


@dataclass(frozen=True, slots=True)
class Divergence:
    """A comparator's finding on one pair.

    `score` in [0, 1]; `flip` when a user would call it another prediction; `reason` for an operator;
    confidences in [0, 1] where the prediction has one; labels where it is a class. A batch of several rows
    has a finding for each in `rows`: its score is their mean, and it flips when any of them does. `paths`
    are the places in a document that differ.
    """

    score: float
    flip: bool
    reason: str
    incumbent_confidence: float | None = None
    candidate_confidence: float | None = None
    incumbent_label: str | None = None
    candidate_label: str | None = None
    rows: tuple[RowFinding, ...] = ()
    paths: tuple[str, ...] = ()
