"""What one batch does to the guards of an endpoint, apart from the guards: it can travel, and it adds.

Several processes that judge parts of one stream each make an `Increments` of their part, against the same
state; `GuardSet.merge` takes them together as one batch. Evidence, certificates, counts, latencies and
classes are sums of exact numbers, so they come out as if one process had seen the whole batch, to the last
bit. That needs two things of whoever shares the stream out: all parts are read against the state after the
batch before, and all pairs of a unit go to the same process (who has voted is known only there).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec
import numpy as np

from killswitch.evidence import Increment
from killswitch.rise import Segment


@dataclass(frozen=True, slots=True)
class GuardIncrement:
    """What one batch of votes does to one guard; `certified` is None where nothing is certified."""

    increment: Increment
    segment: Segment
    certified: tuple[float, ...] | None


@dataclass(frozen=True, slots=True)
class DriftIncrement:
    """What one batch does to one feature; `counts` are its votes by bin."""

    guard: GuardIncrement
    counts: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class SightIncrement:
    """`measured`: a comparison succeeded; `unmeasured`: faults in a row at the end, `fault` the last of
    them."""

    measured: bool = False
    unmeasured: int = 0
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Increments:
    """All of it.

    Attributes:
        guards: by the name of the guard, those that had votes.
        cohorts: accuracy, by cohort.
        sight: whether predictions could be compared.
        latencies: the incumbent's, by bucket (`killswitch.quantile`).
        candidate_classes, incumbent_classes: how often each arm predicted each class.
        drift: by feature, those that had votes.
        profile: requests that a reference for drift is learned from, each by feature; NaN for no number.
    """

    guards: dict[str, GuardIncrement] = field(default_factory=dict)
    cohorts: dict[str, GuardIncrement] = field(default_factory=dict)
    sight: SightIncrement = SightIncrement()
    latencies: dict[int, int] = field(default_factory=dict)
    candidate_classes: dict[str, int] = field(default_factory=dict)
    incumbent_classes: dict[str, int] = field(default_factory=dict)
    drift: dict[str, DriftIncrement] = field(default_factory=dict)
    profile: tuple[Mapping[str, float], ...] = ()

    def dump(self) -> bytes:
        """As JSON."""
        return msgspec.json.encode(self, enc_hook=lambda array: array.tolist())

    @staticmethod
    def load(dumped: bytes) -> Increments:
        """What `dump` gave. Raises ValueError when it is nothing of the kind."""
        try:
            wire = msgspec.json.decode(dumped, type=_Wire)
        except msgspec.DecodeError as error:
            raise ValueError(f"not increments of guards: {error}") from error
        return Increments(
            {name: one.guard() for name, one in wire.guards.items()},
            {name: one.guard() for name, one in wire.cohorts.items()},
            wire.sight,
            wire.latencies,
            wire.candidate_classes,
            wire.incumbent_classes,
            {name: DriftIncrement(one.guard.guard(), one.counts) for name, one in wire.drift.items()},
            tuple(numbers(row) for row in wire.profile),
        )


def numbers(row: Mapping[str, float | None]) -> dict[str, float]:
    """A row of features as it was before JSON, which knows no NaN."""
    return {name: math.nan if value is None else value for name, value in row.items()}


class _WireSegment(msgspec.Struct, frozen=True):
    gained: list[float]
    floor: list[float]
    starts: tuple[list[float], list[float], list[float], list[float]] | None


class _WireGuard(msgspec.Struct, frozen=True):
    increment: Increment
    segment: _WireSegment
    certified: tuple[float, ...] | None

    def guard(self) -> GuardIncrement:
        starts = self.segment.starts
        lengths = {len(self.increment.growth), len(self.segment.gained), len(self.segment.floor)}
        if len(lengths | {len(row) for row in starts or ()}) != 1:
            raise ValueError("not increments of guards: parts of one guard are of different numbers of bets")
        segment = Segment(
            np.array(self.segment.gained),
            np.array(self.segment.floor),
            None if starts is None else np.array(starts),
        )
        return GuardIncrement(self.increment, segment, self.certified)


class _WireDrift(msgspec.Struct, frozen=True):
    guard: _WireGuard
    counts: tuple[float, ...]


class _Wire(msgspec.Struct, frozen=True):
    guards: dict[str, _WireGuard]
    cohorts: dict[str, _WireGuard]
    sight: SightIncrement
    latencies: dict[int, int]
    candidate_classes: dict[str, int]
    incumbent_classes: dict[str, int]
    drift: dict[str, _WireDrift] = {}
    profile: list[dict[str, float | None]] = []
