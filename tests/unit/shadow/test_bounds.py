"""Sampling, pairing and the outbox: in bounds, and nothing counted twice."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.observation import Observation, Outcome, Pair
from domain.routing import Arm
from domain.snapshot import ShadowLimits
from shadow.outbox import MAX_ON_THE_WAY, Counts, Outbox
from shadow.pairing import Asked, Budget, Capture, PendingPair
from shadow.sampler import Sampler
from shadow.wire import Batch, FrameBuffer, decode_from_worker

NO_COUNTS: Counts = ([], [], [])


def _pending(budget: Budget, *, size: int = 0, limit: int = 1000) -> PendingPair:
    return PendingPair(budget, size, limit, Asked("r", "rain", 7, 3, Arm.INCUMBENT, 1.0))


def _observation(version: str, body: bytes = b"x") -> Observation:
    return Observation(version, Outcome.ANSWERED, 200, 0.01, body)


def _pair(number: int, size: int = 10) -> Pair:
    one, two = _observation("rain-1", b"x" * size), _observation("rain-2", b"y" * size)
    return Pair(str(number), "rain", number, 1, Arm.INCUMBENT, 0.0, one, two)


def _decoded(data: bytes) -> Batch:
    (payload,) = FrameBuffer().feed(data)
    batch = decode_from_worker(payload)
    assert isinstance(batch, Batch)
    return batch


@pytest.mark.parametrize(("share", "expected"), [(0, 0.0), (1, 0.0001), (2500, 0.25), (10_000, 1.0)])
def test_the_share_is_mirrored(share: int, expected: float) -> None:
    sampler = Sampler(random.Random(1).random)
    drawn = sum(sampler.sampled(share) for _ in range(40_000)) / 40_000
    assert drawn == pytest.approx(expected, abs=0.01)


@given(
    st.lists(st.sampled_from(["open", "hold", "finish"]), max_size=60), st.integers(0, 5), st.integers(0, 300)
)
@settings(deadline=None)
def test_a_budget_is_never_exceeded_and_comes_back_whole(steps: list[str], pairs: int, size: int) -> None:
    budget = Budget(ShadowLimits(max_in_flight=pairs, max_bytes=size))
    open_pairs: list[PendingPair] = []
    for step in steps:
        if step == "open" and budget.open(20):
            open_pairs.append(_pending(budget, size=20))
        elif step == "hold" and open_pairs:
            open_pairs[-1].hold(30)
        elif step == "finish" and open_pairs:
            pending = open_pairs.pop()
            assert pending.observe(Arm.CANDIDATE, _observation("rain-2")) is None
            assert pending.observe(Arm.INCUMBENT, _observation("rain-1")) is not None
        assert budget.pairs <= pairs
        assert budget.held <= size
    for pending in open_pairs:
        pending.observe(Arm.INCUMBENT, _observation("rain-1"))
        pending.observe(Arm.CANDIDATE, _observation("rain-2"))
    assert (budget.pairs, budget.held) == (0, 0)


def test_an_arms_first_observation_stands() -> None:
    budget = Budget(ShadowLimits())
    assert budget.open(0)
    pending = _pending(budget)
    assert pending.observe(Arm.CANDIDATE, _observation("rain-2", b"first")) is None
    assert pending.observe(Arm.CANDIDATE, _observation("rain-2", b"second")) is None
    pair = pending.observe(Arm.INCUMBENT, _observation("rain-1"))
    assert pair is not None
    assert pair.candidate.body == b"first"
    assert pending.observe(Arm.INCUMBENT, _observation("rain-1")) is None, "a pair is given once"


def test_a_body_over_the_limit_is_not_kept_in_part() -> None:
    budget = Budget(ShadowLimits())
    assert budget.open(0)
    capture = Capture(_pending(budget, limit=10))
    assert capture.add(b"12345")
    assert not capture.add(b"678901")
    assert not capture.add(b"2")
    assert capture.overflowed
    assert capture.body() == b""


def test_the_oldest_pairs_are_dropped_and_counted() -> None:
    outbox = Outbox("s", max_pending=5000)
    for number in range(100):
        outbox.add(_pair(number))
    batch = _decoded(outbox.cut(NO_COUNTS))
    kept = [int(pair.request_id) for pair in batch.pairs]
    assert kept == list(range(100 - len(kept), 100))
    assert batch.dropped == {"link": 100 - len(kept)}


def test_a_batch_is_sent_again_until_it_is_acknowledged() -> None:
    outbox = Outbox("s")
    outbox.add(_pair(1))
    first = outbox.cut(NO_COUNTS)
    outbox.add(_pair(2))
    second = outbox.cut(NO_COUNTS)
    assert outbox.resend() == [first, second]
    outbox.acknowledge(1)
    assert outbox.resend() == [second]
    outbox.acknowledge(1)
    assert outbox.resend() == [second], "a repeated acknowledgement is no other one"
    assert [_decoded(first).sequence, _decoded(second).sequence] == [1, 2]


def test_only_so_many_batches_are_on_their_way() -> None:
    outbox = Outbox("s")
    while outbox.room:
        outbox.add(_pair(1))
        outbox.cut(NO_COUNTS)
    assert len(outbox.resend()) == MAX_ON_THE_WAY
    outbox.acknowledge(1)
    assert outbox.room


@given(st.lists(st.integers(0, 3_000_000), max_size=8))
@settings(deadline=None, max_examples=20)
def test_every_pair_travels_once_and_in_order(sizes: list[int]) -> None:
    outbox = Outbox("s")
    for number, size in enumerate(sizes):
        outbox.add(_pair(number, size))
    travelled: list[str] = []
    while outbox.pending:
        travelled += [pair.request_id for pair in _decoded(outbox.cut(NO_COUNTS)).pairs]
    assert travelled == [str(number) for number in range(len(sizes))]


@given(st.lists(st.binary(max_size=50), max_size=10), st.integers(1, 7))
def test_frames_are_cut_wherever_the_reads_fall(payloads: list[bytes], size: int) -> None:
    stream = b"".join(len(payload).to_bytes(4, "big") + payload for payload in payloads)
    frames = FrameBuffer()
    found = [payload for at in range(0, len(stream), size) for payload in frames.feed(stream[at : at + size])]
    assert found == payloads


def test_a_frame_beyond_the_limit_is_refused_before_it_is_held() -> None:
    with pytest.raises(ValueError, match="over the limit"):
        list(FrameBuffer().feed(b"\xff\xff\xff\xff"))
