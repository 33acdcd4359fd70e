"""Stretches of counts: they end by how many requests there were, never by how they went."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from control.stretches import FEWEST, Stretches
from shadow.wire import RequestCounts

VERSIONS = {"incumbent": "one", "candidate": "two"}


def counted(arm: str, status: int, requests: int, version: str | None = None) -> RequestCounts:
    return RequestCounts("rain", version or VERSIONS[arm], arm, status, requests, [], 0.0)


def test_a_stretch_takes_enough_of_both_arms_and_begins_with_the_first() -> None:
    stretches = Stretches()
    stretches.add([counted("incumbent", 200, 90)], VERSIONS, 5.0)
    assert stretches.take() is None
    stretches.add([counted("candidate", 200, FEWEST - 2), counted("candidate", 500, 2)], VERSIONS, 6.0)
    assert stretches.take() == ((90, 0), (FEWEST, 2), 5.0)
    assert stretches.take() is None


def test_what_the_gateway_answers_itself_says_nothing_and_no_answer_is_an_error() -> None:
    stretches = Stretches()
    ours = [counted("candidate", status, 50) for status in (408, 413, 431, 499)]
    stretches.add([*ours, counted("candidate", 0, 3), counted("candidate", 204, 7)], VERSIONS, 0.0)
    stretches.add([counted("incumbent", 200, FEWEST)], VERSIONS, 0.0)
    assert stretches.take() == ((FEWEST, 0), (FEWEST, 3), 0.0)


def test_other_versions_do_not_count() -> None:
    stretches = Stretches()
    stretches.add([counted("candidate", 500, 100, "three"), counted("incumbent", 200, 100)], VERSIONS, 0.0)
    assert stretches.take() is None


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["incumbent", "candidate"]), st.sampled_from([200, 500, 0]), st.integers(1, 40)
        )
    )
)
def test_every_request_is_in_one_stretch_and_errors_do_not_end_one(
    events: list[tuple[str, int, int]],
) -> None:
    mine, healthy = Stretches(), Stretches()
    whole = {"incumbent": [0, 0], "candidate": [0, 0]}
    for arm, status, requests in events:
        mine.add([counted(arm, status, requests)], VERSIONS, 0.0)
        healthy.add([counted(arm, 200, requests)], VERSIONS, 0.0)
        found, same = mine.take(), healthy.take()
        assert (found is None) == (same is None)
        whole[arm][0] += requests
        whole[arm][1] += 0 if status == 200 else requests
        if found is not None:
            for name, counts in zip(("incumbent", "candidate"), found[:2], strict=True):
                whole[name][0] -= counts.requests
                whole[name][1] -= counts.errors
            assert whole == {"incumbent": [0, 0], "candidate": [0, 0]}
