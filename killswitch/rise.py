"""Since when the candidate has been as bad as it is: an estimate of the change, vote by vote.

The problem. The evidence says that a limit is broken, not since when. After a long healthy past most of the
delay goes by before e is above 1 again, so "since e was last 1 or below" comes far too late, and whatever is
counted from there (pairs until the breach, time to recovery) flatters.

The idea. For each bet λ the sum S ← max(0, S + ln(1 + λ(x − limit))) over the votes is CUSUM's: it is 0 as
long as the bet loses, and grows from the change on. The change came after the vote at which S was last 0:
the most likely place for it, had x been drawn from the two distributions between which the bet decides. Of
all bets the one with the largest S has the best fit to what was seen since.

What holds. S is the best that one coin could have made of any stretch that ends now, and all money that was
ever handed out is worth one coin at most: so e ≤ the mean of exp S over the bets, and e > 1 means that some S
is above 0. And since ln(1 + y) ≤ y, S > 0 means that the mean over the votes since is above the limit.

Several processes. The stretch of one batch that this needs is small (`Segment`), and segments are taken one
after another. Their order is not that of the pairs when several processes judge at once, so what is merged is
still such an estimate, but one whose change may lie within the merged batch.

Sources. Page, "Continuous inspection schemes", Biometrika 1954 (CUSUM); Lorden, "Procedures for reacting to a
change in distribution", Annals of Mathematical Statistics 1971; Hinkley, "Inference about the change-point
from cumulative sum tests", Biometrika 1971 (the last zero as the estimate). docs/statistics.md has figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from killswitch.evidence import EvidenceState, Floats, Increment, Path


@dataclass(frozen=True, slots=True)
class Rise:
    """The votes since the estimated change.

    Attributes:
        since: wall clock (`Pair.at`) of the first of them.
        votes_before: how many votes came before it.
        total_before: the sum of those earlier votes.
        absolute_before: the sum of their absolute values.
    """

    since: float
    votes_before: int
    total_before: float
    absolute_before: float


@dataclass(frozen=True, slots=True)
class Segment:
    """What one batch does to every S.

    Attributes:
        gained: each bet's growth over the whole batch, of shape (bets,).
        floor: its lowest growth on the way, of the same shape.
        starts: where that was, of shape (4, bets): the instant of the first vote after it, and how many votes
            of the batch, of which sum and absolute sum, came before. None when every bet ends at its lowest.
    """

    gained: Floats
    floor: Floats
    starts: Floats | None


class KeptRises(msgspec.Struct, frozen=True):
    """What survives a restart, one number per bet; all but the first are 0 where `sums` is."""

    sums: tuple[float, ...]
    since: tuple[float, ...]
    votes_before: tuple[int, ...]
    totals_before: tuple[float, ...]
    absolutes_before: tuple[float, ...]

    def fits(self, bets: int) -> bool:
        """Whether it is of so many bets."""
        parts = (self.sums, self.since, self.votes_before, self.totals_before, self.absolutes_before)
        return {len(part) for part in parts} == {bets}


def segment(path: Path, at: Sequence[float]) -> Segment:
    """What `path`, whose steps were taken by pairs that began at the wall times `at`, does to every S.

    Within the batch S is what was gained since the lowest point, if that lies below where S was 0 before it;
    the last one counts, since a vote at the limit itself leaves an S of 0 at 0.
    """
    gained = path.growth[:, -1]
    steps = len(at)
    after_lowest = path.growth[:, ::-1].argmin(axis=1)
    if not np.count_nonzero(after_lowest):
        # All end at their lowest, so nothing began to rise; healthy batches are spared the rest.
        return Segment(gained, gained, None)
    lowest = steps - after_lowest
    starts = np.empty((4, steps + 1))
    starts[0, :steps] = at
    starts[0, steps] = 0.0  # No vote of this batch came after its last.
    starts[1] = path.counts
    starts[2] = path.totals
    starts[3] = path.absolutes
    return Segment(gained, path.growth[np.arange(len(gained)), lowest], starts.take(lowest, axis=1))


class Rises:
    """S of every bet, and where it was last 0."""

    def __init__(self, bets: int) -> None:
        self.sums: Floats = np.zeros(bets)
        # Rows: since, votes before, total before, absolute total before. Of no meaning where the sum is 0.
        self._starts: Floats = np.zeros((4, bets))

    def take(self, batch: Segment, before: EvidenceState, within: Increment | None = None) -> None:
        """One batch of at least one vote, after those of `before`, and of `within` when that came first."""
        if batch.starts is None:
            self.sums = np.maximum(self.sums + batch.gained, 0.0)
            return
        count, total, absolute = before.count, before.total, before.absolute
        if within is not None:
            count, total, absolute = count + within.count, total + within.total, absolute + within.absolute
        past = np.array([[0.0], [count], [total], [absolute]])
        rest = -self.sums
        np.copyto(self._starts, batch.starts + past, where=batch.floor <= rest)
        self.sums = batch.gained - np.minimum(batch.floor, rest)

    def strongest(self) -> Rise | None:
        """The rise of the bet with the largest S; None when every S is 0."""
        bet = int(self.sums.argmax())
        if not self.sums[bet] > 0:
            return None
        since, votes, total, absolute = self._starts[:, bet].tolist()
        return Rise(since, int(votes), total, absolute)

    def keep(self) -> KeptRises:
        """Everything `restore` needs to go on."""
        since, votes, totals, absolutes = np.where(self.sums > 0, self._starts, 0.0).tolist()
        return KeptRises(
            tuple(self.sums.tolist()), tuple(since), tuple(map(int, votes)), tuple(totals), tuple(absolutes)
        )

    def restore(self, kept: KeptRises) -> None:
        """Go on from `kept`, which is of as many bets."""
        self.sums = np.array(kept.sums)
        self._starts = np.array([kept.since, kept.votes_before, kept.totals_before, kept.absolutes_before])
