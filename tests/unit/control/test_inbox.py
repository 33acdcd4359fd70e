"""The inbox: each batch once, bounded, and shed without looking at what happened."""

from __future__ import annotations

import asyncio
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from control.hearing import SLICE_PAIRS, slices
from control.inbox import Inbox
from tests.support.control import batch, pair


def drain(inbox: Inbox) -> list[tuple[str, int, int]]:
    found = []
    while (waiting := inbox.take()) is not None:
        found.append((waiting.session, waiting.sequence, len(waiting.pairs)))
    return found


def test_batches_come_out_in_the_order_they_came_and_once() -> None:
    inbox = Inbox(random.Random(1).random)
    for sequence in (1, 2, 2, 1, 3):
        inbox.put(batch(sequence, [pair(sequence)]))
    inbox.put(batch(1, [pair(9)], "other"))
    assert drain(inbox) == [("s", 1, 1), ("s", 2, 1), ("s", 3, 1), ("other", 1, 1)]
    assert inbox.repeated == 2


def test_what_was_kept_before_a_restart_is_not_heard_again() -> None:
    inbox = Inbox(random.Random(1).random)
    inbox.restore({"s": 5})
    assert not inbox.put(batch(5, [pair(1)]))
    assert inbox.put(batch(6, [pair(1)]))


@settings(deadline=None)
@given(st.lists(st.integers(0, 60), max_size=30), st.integers(1, 100), st.integers(0, 2**32))
def test_the_bound_holds_and_every_pair_is_kept_or_counted(sizes: list[int], most: int, seed: int) -> None:
    inbox = Inbox(random.Random(seed).random, most_pairs=most)
    for number, size in enumerate(sizes):
        inbox.put(batch(number + 1, [pair(n) for n in range(size)]))
        assert len(inbox) <= most
    shed = inbox.shed
    kept = drain(inbox)
    assert sum(size for *_, size in kept) + shed == sum(sizes)
    assert [sequence for _, sequence, _ in kept] == list(range(1, len(sizes) + 1)), (
        "no batch goes unacknowledged"
    )


def test_shedding_does_not_look_at_outcomes() -> None:
    inbox = Inbox(random.Random(3).random, most_pairs=2000)
    for number in range(40):
        inbox.put(batch(number + 1, [pair(n, 0.9 if n % 10 == 0 else 0.5) for n in range(200)]))
    pairs = []
    while (waiting := inbox.take()) is not None:
        pairs += waiting.pairs
    bad = sum(b"0.9" in one.candidate.body for one in pairs)
    assert 0.05 < bad / len(pairs) < 0.15


def test_bytes_are_bounded_too() -> None:
    inbox = Inbox(random.Random(3).random, most_bytes=1000)
    for number in range(10):
        inbox.put(batch(number + 1, [pair(n) for n in range(20)]))
    assert inbox.shed > 0


def test_whoever_waits_is_woken() -> None:
    async def scenario() -> None:
        inbox = Inbox(random.Random(1).random)
        assert inbox.take() is None
        waiting = asyncio.get_running_loop().create_task(inbox.filled())
        await asyncio.sleep(0)
        assert not waiting.done()
        inbox.put(batch(1, []))
        await waiting

    asyncio.run(scenario())


@settings(deadline=None)
@given(st.lists(st.integers(0, 400_000), max_size=80))
def test_slices_are_the_pairs_in_order_in_small_parts(lengths: list[int]) -> None:
    pairs = [
        pair(
            n,
            candidate=pair(n).candidate.__class__(
                "rain-2", pair(n).candidate.outcome, 200, 0.0, bytes(length)
            ),
        )
        for n, length in enumerate(lengths)
    ]
    parts = [list(part) for part in slices(pairs)]
    assert [one for part in parts for one in part] == pairs
    assert all(1 <= len(part) <= SLICE_PAIRS for part in parts)
