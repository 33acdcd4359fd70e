"""Memory pressure: stages are entered in order and left with slack."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.pressure import SHARES, SLACK, Pressure, Stage

LIMIT = 100_000


def test_each_stage_is_entered_at_its_share() -> None:
    for stage in Stage:
        assert Pressure(LIMIT).look(int(SHARES[stage] * LIMIT) + 1) is stage


def test_a_stage_is_left_only_clearly_below_its_entry() -> None:
    pressure = Pressure(LIMIT)
    assert pressure.look(96_000) is Stage.REQUESTS
    assert pressure.look(92_000) is Stage.REQUESTS
    assert pressure.look(90_900) is Stage.KEEP_ALIVE
    assert pressure.look(10_000) is Stage.NOTHING


@settings(deadline=None)
@given(st.lists(st.integers(0, 2 * LIMIT), min_size=1))
def test_a_stage_never_sheds_too_little_nor_holds_on_beyond_the_slack(seen: list[int]) -> None:
    pressure = Pressure(LIMIT)
    for resident in seen:
        stage = pressure.look(resident)
        share = resident / LIMIT
        assert all(stage >= other for other in Stage if share >= SHARES[other])
        assert share + SLACK >= SHARES[stage]
