"""Retries are a share of the requests under way, whatever the requests do."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.retries import AT_LEAST, SHARE, RetryBudget


def test_little_traffic_may_retry_a_few() -> None:
    budget = RetryBudget(lambda: 0)
    for _ in range(AT_LEAST):
        assert budget.may_retry()
        budget.started()
    assert not budget.may_retry()
    budget.ended()
    assert budget.may_retry()


@given(st.integers(0, 5000), st.lists(st.booleans(), max_size=300))
@settings(deadline=None)
def test_retries_under_way_never_exceed_their_share(active: int, steps: list[bool]) -> None:
    budget = RetryBudget(lambda: active)
    for wants_one in steps:
        if wants_one and budget.may_retry():
            budget.started()
        elif not wants_one and budget.under_way:
            budget.ended()
        assert 0 <= budget.under_way <= max(AT_LEAST, SHARE * active + 1)


def test_when_every_request_fails_the_load_grows_by_a_fifth_and_not_twofold() -> None:
    first_tries = 1000
    budget = RetryBudget(lambda: first_tries + budget.under_way)
    for _ in range(first_tries):
        if budget.may_retry():
            budget.started()
    assert SHARE * first_tries <= budget.under_way <= 1.3 * SHARE * first_tries


def test_a_request_that_needs_no_retry_is_never_counted() -> None:
    def counted() -> int:
        raise AssertionError("only a retry asks")

    assert RetryBudget(counted).may_retry()
