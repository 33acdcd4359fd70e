from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.routing import FULL_WEIGHT
from routing.rollout import own_weight, rollout


def document(*strategies: dict[str, Any]) -> bytes:
    return json.dumps(
        {"version": 2, "features": [{"name": "canary", "enabled": True, "strategies": list(strategies)}]}
    ).encode()


def gradual(percent: int, **more: Any) -> dict[str, Any]:
    parameters = {"rollout": str(percent), "stickiness": "default", "groupId": "canary"}
    return {"name": "flexibleRollout", "parameters": parameters, **more}


@given(st.integers(0, 100))
def test_the_rollout_of_a_flag_is_that_of_its_only_strategy(percent: int) -> None:
    assert rollout(document(gradual(percent)), "canary") == percent


@pytest.mark.parametrize(
    "unlike",
    [
        document(),
        document({"name": "default", "parameters": {}}),
        document(gradual(1), gradual(1)),
        document(gradual(1), {"name": "userWithId", "parameters": {"userIds": "anna"}}),
        b'{"version":2,"features":[]}',
        b"{",
    ],
)
def test_a_flag_that_exposes_otherwise_has_no_rollout(unlike: bytes) -> None:
    assert rollout(unlike, "canary") is None
    assert own_weight(unlike, "canary", 1000) == 1000


@given(st.integers(0, 100), st.integers(1, 100))
def test_no_more_is_exposed_than_the_plan_allows_whatever_the_rollout_is(percent: int, weight: int) -> None:
    left = own_weight(document(gradual(percent)), "canary", weight * 100)
    assert min(percent * 100, left) <= weight * 100
    assert left in (FULL_WEIGHT, weight * 100)


def test_a_disabled_strategy_is_none() -> None:
    assert rollout(document(gradual(5), gradual(90, disabled=True)), "canary") == 5
