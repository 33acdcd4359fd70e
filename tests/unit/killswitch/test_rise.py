"""The estimated change: CUSUM by its letter, in batches of every size, with the laws that tie it to e."""

from __future__ import annotations

import itertools
import math

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from killswitch.evidence import EDetector, EvidenceState
from killswitch.rise import KeptRises, Rises, segment

LIMIT = 0.25
votes = st.lists(st.sampled_from([0.0, 0.0, 0.0, 0.125, 0.25, 0.5, 1.0]), min_size=1, max_size=60)
sizes = st.lists(st.integers(1, 9), min_size=1, max_size=5)


class Watch:
    """A detector and its rises, fed as a guard feeds them; vote n is cast at the wall time 100 + n."""

    def __init__(self, limit: float = LIMIT) -> None:
        self.detector = EDetector(limit, 0.0, 1.0)
        self.state: EvidenceState = self.detector.start()
        self.rises = Rises(self.detector.bets)

    def take(self, x: list[float]) -> None:
        path = self.detector.path(x)
        at = [100.0 + self.state.count + number for number in range(len(x))]
        self.rises.take(segment(path, at), self.state)
        self.state = self.detector.apply(self.state, path.increment)


def cusum(x: list[float]) -> tuple[list[float], list[int]]:
    """S of each bet by the letter, one vote at a time, and after how many votes it was last 0."""
    detector = EDetector(LIMIT, 0.0, 1.0)
    sums, zeros = [0.0] * detector.bets, [0] * detector.bets
    for number, value in enumerate(x, 1):
        for bet, gain in enumerate(detector.increment([value]).growth):
            sums[bet] = max(0.0, sums[bet] + gain)
            if sums[bet] == 0.0:
                zeros[bet] = number
    return sums, zeros


def in_batches(x: list[float], lengths: list[int]) -> list[list[float]]:
    batches: list[list[float]] = []
    begin = 0
    for length in itertools.cycle(lengths):
        if begin >= len(x):
            return batches
        batches.append(x[begin : begin + length])
        begin += length
    raise AssertionError("a cycle ends")


@settings(deadline=None)
@given(x=votes, lengths=sizes)
def test_in_any_batches_the_change_is_where_cusum_was_last_0(x: list[float], lengths: list[int]) -> None:
    watch = Watch()
    for batch in in_batches(x, lengths):
        watch.take(batch)
    sums, zeros = cusum(x)
    assert watch.rises.sums == pytest.approx(sums, abs=1e-7)
    rise = watch.rises.strongest()
    if max(sums) < 1e-7:
        assert rise is None or max(watch.rises.sums) < 1e-7
        return
    assert rise is not None
    near = {zero for total, zero in zip(sums, zeros, strict=True) if total > max(sums) - 1e-7}
    assert rise.votes_before in near
    assert rise.since == 100.0 + rise.votes_before
    assert rise.total_before == pytest.approx(sum(x[: rise.votes_before]), abs=1e-9)
    assert rise.absolute_before == rise.total_before


@settings(deadline=None)
@given(x=votes, lengths=sizes)
def test_evidence_above_1_has_a_change_and_the_mean_since_it_is_above_the_limit(
    x: list[float], lengths: list[int]
) -> None:
    watch = Watch()
    for batch in in_batches(x, lengths):
        watch.take(batch)
        best = math.log(float(np.exp(watch.rises.sums).mean()))
        assert watch.detector.log_evidence(watch.state) <= best + 1e-9
        rise = watch.rises.strongest()
        if rise is not None and max(watch.rises.sums) > 1e-7:
            since = watch.state.count - rise.votes_before
            assert (watch.state.total - rise.total_before) / since > LIMIT


def test_before_any_vote_and_while_every_bet_loses_there_is_no_rise() -> None:
    watch = Watch()
    assert watch.rises.strongest() is None
    watch.take([0.0] * 10)
    watch.take([LIMIT] * 10)
    assert watch.rises.strongest() is None


@pytest.mark.parametrize("batch", [1, 2, 50])
def test_votes_at_the_limit_itself_are_no_part_of_a_rise(batch: int) -> None:
    """A latency vote is mostly 0, as is its limit: such votes leave S at 0, and the last of them counts."""
    watch = Watch()
    for piece in in_batches([LIMIT] * 30 + [1.0] * 20, [batch]):
        watch.take(piece)
    rise = watch.rises.strongest()
    assert rise is not None
    assert (rise.since, rise.votes_before, rise.total_before) == (130.0, 30, 30 * LIMIT)


def test_rises_go_on_after_being_kept() -> None:
    straight, restarted = Watch(), Watch()
    generator = np.random.default_rng(3)
    for number in range(60):
        x = (generator.random(5) < (0.1 if number < 30 else 0.6)).astype(float).tolist()
        straight.take(x)
        restarted.take(x)
        kept = msgspec.json.decode(msgspec.json.encode(restarted.rises.keep()), type=KeptRises)
        restarted.rises = Rises(16)
        restarted.rises.restore(kept)
        assert restarted.rises.strongest() == straight.rises.strongest()
        assert restarted.rises.keep() == straight.rises.keep() == kept


def test_kept_rises_fit_only_as_many_bets() -> None:
    kept = Rises(4).keep()
    assert kept.fits(4)
    assert not kept.fits(16)
    assert not msgspec.structs.replace(kept, since=(0.0,)).fits(4)
