"""All guards of an endpoint read a batch at once.

A guard's arithmetic is small and there are many guards, so calling numpy for each would cost more than the
arithmetic. Here the votes of all guards stand in one row, each with the stakes of its own guard above it.
What comes out is to the last bit what `Guard.read` gives for each: sums of such numbers are exact
(`killswitch.evidence`), so a guard's path is the common path less where it began.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from killswitch.columns import Numbers, Truth, Whole
from killswitch.evidence import Floats, Increment, Path, rounded_down, running_sums
from killswitch.guard import Guard
from killswitch.increments import GuardIncrement
from killswitch.rise import Segment, segment


class Ensemble:
    """Guards that are read together. One side of a guard's bets is a lane; all lanes have as many bets."""

    def __init__(self, guards: Sequence[Guard]) -> None:
        self._guards = tuple(guards)
        detectors = [guard.detector for guard in self._guards]
        certifiers = [guard.certifier for guard in self._guards]
        self._sides = [2 if guard.signal.two_sided else 1 for guard in self._guards]
        self._stakes = _lanes([one.stakes for one in detectors], self._sides)
        self._offsets = _lanes([one.offsets for one in detectors], self._sides)
        self._proofs = _lanes([one.stakes for one in certifiers], self._sides)
        self._proof_offsets = _lanes([one.offsets for one in certifiers], self._sides)

    def read(self, votes: Sequence[tuple[Numbers, Floats]]) -> dict[str, GuardIncrement]:
        """What a batch does to each guard that has votes: for each guard its numbers, and when their pairs
        began.

        Raises ValueError when a number is none.
        """
        lanes: list[int] = []
        spoken: list[tuple[Guard, int, Floats]] = []
        parts: list[Floats] = []
        proved: list[Floats] = []
        lane = 0
        for guard, sides, (numbers, at) in zip(self._guards, self._sides, votes, strict=True):
            if len(numbers.x):
                x = guard.detector.clipped(numbers.x)
                y = x if numbers.certified is None else guard.certifier.clipped(numbers.certified)
                parts += [x] * sides
                proved += [y] * sides
                lanes += range(lane, lane + sides)
                spoken.append((guard, sides, at))
            lane += sides
        if not lanes:
            return {}
        return self._increments(lanes, spoken, parts, proved)

    def _increments(
        self,
        lanes: Sequence[int],
        spoken: Sequence[tuple[Guard, int, Floats]],
        parts: Sequence[Floats],
        proved: Sequence[Floats],
    ) -> dict[str, GuardIncrement]:
        lengths = np.array([len(part) for part in parts])
        ends = np.cumsum(lengths)
        begins = ends - lengths
        of_vote = np.repeat(np.array(lanes), lengths)
        x = np.concatenate(parts)
        growth = np.zeros((self._stakes.shape[0], len(x) + 1))
        np.add.accumulate(_logarithms(self._stakes, self._offsets, of_vote, x), axis=1, out=growth[:, 1:])
        totals, absolutes = running_sums(x)
        # From here on a row is a lane, so that the lanes of a guard lie side by side.
        gained = np.ascontiguousarray((growth[:, ends] - growth[:, begins]).T)
        lowest = np.minimum.reduceat(growth[:, 1:], begins, axis=1).T - growth[:, begins].T
        rises: Truth = np.logical_or.reduce((lowest < gained) | (gained > 0), axis=1)
        rising: list[bool] = rises.tolist()
        certified = self._certified(of_vote, np.concatenate(proved), begins)
        sums = (totals[ends] - totals[begins]).tolist()
        absolute_sums = (absolutes[ends] - absolutes[begins]).tolist()
        found: dict[str, GuardIncrement] = {}
        lane = 0
        for guard, sides, at in spoken:
            mine = slice(lane, lane + sides)
            whole = gained[mine].ravel()
            stretch = Segment(whole, whole, None)
            if any(rising[mine]):
                span = [
                    growth[:, begin : end + 1] for begin, end in zip(begins[mine], ends[mine], strict=True)
                ]
                within = slice(begins[lane], ends[lane] + 1)
                path = Path(
                    np.concatenate([one - one[:, :1] for one in span]), np.arange(len(at) + 1),
                    totals[within] - totals[begins[lane]], absolutes[within] - absolutes[begins[lane]],
                )  # fmt: skip
                stretch = segment(path, at.tolist())
            increment = Increment(tuple(whole.tolist()), len(at), sums[lane], absolute_sums[lane])
            proof = tuple(certified[mine].ravel().tolist()) if guard.certifies else None
            found[guard.signal.name] = GuardIncrement(increment, stretch, proof)
            lane += sides
        return found

    def _certified(self, of_vote: Whole, y: Floats, begins: Whole) -> Floats:
        logarithms = _logarithms(self._proofs, self._proof_offsets, of_vote, -y)
        return np.ascontiguousarray(np.add.reduceat(logarithms, begins, axis=1).T)


def _logarithms(stakes: Floats, offsets: Floats, lane: Whole, x: Floats) -> Floats:
    """ln(offset + stake · x) of every bet in the lane of each number. Most numbers are 0 or ±1, and many are
    equal: they are computed once.
    """
    order = np.lexsort((x, lane))
    sorted_x, sorted_lane = x[order], lane[order]
    fresh = np.empty(len(x), dtype=np.bool_)
    fresh[0] = True
    np.not_equal(sorted_x[1:], sorted_x[:-1], out=fresh[1:])
    fresh[1:] |= sorted_lane[1:] != sorted_lane[:-1]
    place = np.empty(len(x), dtype=np.int64)
    place[order] = np.cumsum(fresh) - 1
    lanes = sorted_lane[fresh]
    factors = stakes.take(lanes, axis=1)
    factors *= sorted_x[fresh]
    factors += offsets.take(lanes, axis=1)
    return rounded_down(np.log(factors, out=factors)).take(place, axis=1)


def _lanes(columns: Sequence[Floats], sides: Sequence[int]) -> Floats:
    """Columns of shape (sides · bets, 1), side by side as lanes of shape (bets, lanes)."""
    if not columns:
        return np.zeros((0, 0))
    split = [part for column, many in zip(columns, sides, strict=True) for part in np.split(column, many)]
    return np.concatenate(split, axis=1)
