"""Approvals count for the very thing that was approved, once a person, and not by whoever started it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as options
from hypothesis import strategies as st

from domain.errors import ConfigError
from gates.approvals import Approval, agreement, person, subject_digest
from gates.release import Phase, Release

RELEASE = Release(
    "r", "rain", "rain-1", "rain-2", "i", "c", Phase.APPROVING, 0, 5.0, 1.0, gates="g", by="ada", asked=5.0
)
DAY = 86_400.0


def word(by: str, at: float = 10.0, release: Release = RELEASE, configuration: str = "d") -> Approval:
    return Approval(release.id, subject_digest(release, configuration), by, "claimed", "looks fine", at)


def test_two_people_agree_and_nobody_is_missing() -> None:
    found = agreement([word("bob"), word("eve")], RELEASE, "d", 2, DAY, 20.0)
    assert [one.by for one in found.given] == ["bob", "eve"]
    assert (found.missing, found.void) == (0, ())


def test_one_person_is_one_however_often_they_approve() -> None:
    found = agreement([word("bob"), word("bob", 11.0)], RELEASE, "d", 2, DAY, 20.0)
    assert (len(found.given), found.missing) == (1, 1)


def test_who_started_a_release_is_no_second_pair_of_eyes_on_it() -> None:
    found = agreement([word("ada"), word("bob")], RELEASE, "d", 2, DAY, 20.0)
    assert found.missing == 1
    assert found.void == (("ada", "who started a release does not approve it"),)


@pytest.mark.parametrize(
    "other",
    [
        {"incumbent_digest": "x"},
        {"candidate_digest": "x"},
        {"gates": "x"},
        {"attempt": 1},
        {"endpoint": "fog"},
        {"id": "other"},
    ],
)
def test_whatever_changes_makes_an_approval_one_of_something_else(other: dict[str, Any]) -> None:
    changed = replace(RELEASE, **other)
    assert agreement([word("bob")], changed, "d", 1, DAY, 20.0).missing == 1
    assert agreement([word("bob")], RELEASE, "another configuration", 1, DAY, 20.0).missing == 1


@pytest.mark.parametrize(
    ("now", "missing", "why"),
    [(10.0, 0, ""), (70.0, 0, ""), (70.1, 1, "it has expired"), (9.9, 1, "it is from the future")],
)
def test_an_approval_expires(now: float, missing: int, why: str) -> None:
    found = agreement([word("bob")], RELEASE, "d", 1, 60.0, now)
    assert found.missing == missing
    assert [reason for _, reason in found.void] == ([why] if why else [])


def test_an_approval_that_expired_can_be_given_again() -> None:
    found = agreement([word("bob"), word("bob", 100.0)], RELEASE, "d", 1, 60.0, 120.0)
    assert (found.missing, found.void) == (0, ())


@pytest.mark.parametrize("name", ["Ada", "ADA", "ada"])
def test_nobody_is_two_people_by_spelling_a_name_otherwise(name: str) -> None:
    assert person(name) == "ada"


@pytest.mark.parametrize(
    "name",
    ["", " ada", "a" * 65, "operator", "Plan", "guard:flips", "аda", "ada\n", "-ada", "a b", "registry"],
)
def test_what_is_no_person_is_refused_with_a_way_out(name: str) -> None:
    with pytest.raises(ConfigError, match="give a person's name") as refused:
        person(name)
    assert refused.value.path == "as"


NAMES = st.sampled_from(["ada", "bob", "eve", "kim"])
WORDS = st.builds(
    lambda by, at, attempt, configuration: word(by, at, replace(RELEASE, attempt=attempt), configuration),
    NAMES,
    st.floats(0, 1000),
    st.sampled_from([0, 1]),
    st.sampled_from(["d", "e"]),
)


@given(st.lists(WORDS, max_size=12), st.integers(0, 4), st.floats(0, 1000), st.floats(0, 1000))
@options(deadline=None, max_examples=200)
def test_whoever_counts_is_somebody_else_and_said_so_of_this_in_time(
    words: list[Approval], people: int, valid_for: float, now: float
) -> None:
    found = agreement(words, RELEASE, "d", people, valid_for, now)
    by = [one.by for one in found.given]
    assert len(set(by)) == len(by)
    assert "ada" not in by
    assert all(one.subject == subject_digest(RELEASE, "d") for one in found.given)
    assert all(0 <= now - one.at <= valid_for for one in found.given)
    assert found.missing == max(0, people - len(by))
