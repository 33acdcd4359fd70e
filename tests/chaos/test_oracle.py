"""The oracle of the chaos test sees a request that must not have reached the candidate, and no other."""

from __future__ import annotations

import time

import pytest

from tests.chaos.oracle import Asked, Oracle
from tests.support.upstream import Heard


def ask(
    oracle: Oracle, unit: str, *, gateway: int = 0, began: float | None = None, arm: str = "incumbent"
) -> None:
    now = time.monotonic()
    oracle.asked[unit] = Asked(gateway, now if began is None else began, now, arm)


def reach(oracle: Oracle, unit: str) -> None:
    oracle.candidate_heard(Heard(f"POST / HTTP/1.1\r\nX-User-Id: {unit}".encode(), b""))


def test_a_request_after_its_gateway_was_out_is_found_if_a_copy_reached_the_candidate() -> None:
    oracle = Oracle()
    oracle.out(0)
    ask(oracle, "0-1")
    ask(oracle, "0-2")
    reach(oracle, "0-2")
    checked, wrong = oracle.forbidden()
    assert checked == 2
    assert len(wrong) == 1
    assert wrong[0].startswith("0-2:")


def test_an_answer_by_the_candidate_is_found_even_if_the_candidate_says_nothing() -> None:
    oracle = Oracle()
    oracle.out(0)
    ask(oracle, "0-1", arm="candidate")
    assert len(oracle.forbidden()[1]) == 1


@pytest.mark.parametrize("case", ["another gateway", "began before", "after a re-arm was asked for"])
def test_what_may_reach_the_candidate_is_not_found(case: str) -> None:
    oracle = Oracle()
    before = time.monotonic()
    oracle.out(0)
    if case == "after a re-arm was asked for":
        oracle.rearm_asked()
        assert not oracle.is_out(0)
    ask(
        oracle,
        "0-1",
        gateway=1 if case == "another gateway" else 0,
        began=before - 1 if case == "began before" else None,
    )
    reach(oracle, "0-1")
    assert oracle.forbidden() == (0, [])
