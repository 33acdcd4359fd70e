"""How often the right axis is named, over many worlds; and how often something is found in one where nothing
happened. docs/diagnosis.md has these figures."""

from __future__ import annotations

import pytest

from monitoring.diagnosis.changes import Signal
from monitoring.diagnosis.explaining import diagnose, strongest
from tests.support.scenarios import SCENARIOS, played

WORLDS = 15
BROKEN = [name for name, told in SCENARIOS.items() if told[1] is not None]


@pytest.mark.parametrize("name", BROKEN)
def test_the_right_axis_and_cause_are_named(name: str) -> None:
    right = 0
    for seed in range(WORLDS):
        told = played(name, seed, 2000)
        found = diagnose(told.requests, told.changes, told.signal)
        assert found.at is not None
        right += found.axis is told.axis and found.explanations[0].kind == told.kind
    assert right >= WORLDS - 1


def test_where_nothing_has_changed_nothing_is_found() -> None:
    for seed in range(WORLDS):
        told = played("nothing", seed, 2000)
        assert strongest(told.requests) is None
        for signal in Signal:
            found = diagnose(told.requests, told.changes, signal)
            assert (found.at, found.explanations, found.axis) == (None, (), None)
