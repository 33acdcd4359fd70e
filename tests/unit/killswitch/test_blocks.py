"""Block means: bursts of like votes count as one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from killswitch.blocks import Blocks
from killswitch.columns import Numbers


def votes(x: list[float], certified: list[float] | None = None) -> Numbers:
    return Numbers(np.array(x), np.arange(len(x)), None if certified is None else np.array(certified))


@settings(deadline=None)
@given(batches=st.lists(st.lists(st.floats(-1, 1), max_size=9), max_size=9), size=st.integers(2, 7))
def test_however_they_arrive_the_blocks_are_the_same(batches: list[list[float]], size: int) -> None:
    blocks = Blocks(size)
    whole = [value for batch in batches for value in batch]
    means: list[float] = []
    began: list[float] = []
    seen = 0
    for batch in batches:
        made, at = blocks.take(votes(batch), np.arange(seen, seen + len(batch), dtype=float))
        means += made.x.tolist()
        began += at.tolist()
        seen += len(batch)
    count = len(whole) // size
    assert means == pytest.approx([np.mean(whole[n * size : (n + 1) * size]) for n in range(count)])
    assert began == [float(n * size) for n in range(count)]


def test_what_is_certified_is_averaged_too() -> None:
    made, _ = Blocks(2).take(votes([0.0, 1.0, 1.0], [1.0, 1.0, 0.0]), np.zeros(3))
    assert made.certified is not None
    assert (made.x.tolist(), made.certified.tolist()) == ([0.5], [1.0])


def test_a_block_of_one_changes_nothing() -> None:
    given_votes = votes([0.5, 0.25])
    assert Blocks(1).take(given_votes, np.zeros(2))[0] is given_votes


def test_an_impossible_size_is_refused() -> None:
    with pytest.raises(ValueError, match="size 0"):
        Blocks(0)
