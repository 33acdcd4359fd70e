"""Several batches as one: what they do to the guards together, when they cannot be handed on one by one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import reduce

import numpy as np

from killswitch.evidence import Floats
from killswitch.increments import DriftIncrement, GuardIncrement, Increments, SightIncrement
from killswitch.rise import Segment


def combined(parts: Sequence[Increments]) -> Increments:
    """All `parts`, which came one after another, as one batch; at least one.

    Evidence comes out as by `GuardSet.merge` of all of them at once. Raises ValueError when they are of
    different guards.
    """
    return reduce(_both, parts)


def _both(first: Increments, second: Increments) -> Increments:
    return Increments(
        _guards(first.guards, second.guards),
        _guards(first.cohorts, second.cohorts),
        _sight(first.sight, second.sight),
        dict(Counter(first.latencies) + Counter(second.latencies)),
        dict(Counter(first.candidate_classes) + Counter(second.candidate_classes)),
        dict(Counter(first.incumbent_classes) + Counter(second.incumbent_classes)),
        _drift(first.drift, second.drift),
        (*first.profile, *second.profile),
    )


def _guards(
    first: Mapping[str, GuardIncrement], second: Mapping[str, GuardIncrement]
) -> dict[str, GuardIncrement]:
    return {
        name: _guard(first[name], second[name])
        if name in first and name in second
        else first.get(name) or second[name]
        for name in (*first, *(name for name in second if name not in first))
    }


def _guard(first: GuardIncrement, second: GuardIncrement) -> GuardIncrement:
    certified = first.certified
    if certified is not None and second.certified is not None:
        certified = tuple(mine + theirs for mine, theirs in zip(certified, second.certified, strict=True))
    segment = _segment(first, second)
    return GuardIncrement(first.increment + second.increment, segment, certified)


def _segment(first: GuardIncrement, second: GuardIncrement) -> Segment:
    """The lowest point of both is the second part's where it lies as low or lower: the last one counts."""
    one, two = first.segment, second.segment
    gained = one.gained + two.gained
    if two.starts is None:
        return Segment(gained, np.minimum(one.floor, gained), _starts(one, two, first, gained))
    floor = np.minimum(one.floor, one.gained + two.floor)
    return Segment(gained, floor, _starts(one, two, first, one.gained + two.floor))


def _starts(one: Segment, two: Segment, first: GuardIncrement, second_floor: Floats) -> Floats | None:
    bets = len(one.gained)
    before = first.increment
    past = np.array([[0.0], [before.count], [before.total], [before.absolute]])
    if two.starts is None:
        if one.starts is None or bool(np.all(second_floor <= one.floor)):
            return None
        # Where the second part ends at its lowest, nothing of it came after; it counts as the end of both.
        return np.where(second_floor <= one.floor, np.zeros((4, bets)), one.starts)
    later: Floats = two.starts + past
    if one.starts is None:
        return later
    return np.where(second_floor <= one.floor, later, one.starts)


def _sight(first: SightIncrement, second: SightIncrement) -> SightIncrement:
    measured = first.measured or second.measured
    unmeasured = second.unmeasured if second.measured else first.unmeasured + second.unmeasured
    return SightIncrement(measured, unmeasured, second.fault or first.fault)


def _drift(
    first: Mapping[str, DriftIncrement], second: Mapping[str, DriftIncrement]
) -> dict[str, DriftIncrement]:
    found = dict(first)
    for name, one in second.items():
        mine = found.get(name)
        if mine is None:
            found[name] = one
        else:
            counts = tuple(a + b for a, b in zip(mine.counts, one.counts, strict=True))
            found[name] = DriftIncrement(_guard(mine.guard, one.guard), counts)
    return found
