"""What is followed: an alias is a wish, and no way around the gates."""

from __future__ import annotations

import dataclasses
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import settings as options
from hypothesis import strategies as st

from gates.following import MOST_FORMER, Decision, Followed, Heard, decide, demanded, fresh, placed
from gates.result import version_digest
from settings.follow import Standing
from settings.parse import parse
from settings.schema import EndpointSettings, Settings

DOCUMENT = {
    "registry": {"mlflow": {"url": "http://mlflow:5000"}},
    "endpoints": {
        "rain": {
            "path": "/predict",
            "protocol": "json",
            "unit": "request",
            "incumbent": {"version": "rain-1", "urls": ["http://models:9000/rain/1"]},
            "compare": {"kind": "regression"},
            "guards": {"flips": {"rate": "1%"}},
            "tier": "low",
            "follow": {
                "model": "rain",
                "candidate": "challenger",
                "incumbent": "champion",
                "urls": ["http://models:9000/{name}/{version}"],
            },
        }
    },
}
SETTINGS: Settings = parse(DOCUMENT)
RAIN: EndpointSettings = SETTINGS.endpoint("rain")
BASE = version_digest(RAIN.incumbent, RAIN.path)
NOTHING = Followed("rain", Standing("rain", BASE))


def at(incumbent: str = "", candidate: str = "", *former: str) -> Followed:
    return replace(NOTHING, standing=Standing("rain", BASE, incumbent, candidate), former=former)


def decided(now: Followed, heard: Heard, released: str = "") -> Decision:
    return decide(now, heard, demanded(RAIN), released)


@pytest.mark.parametrize(
    ("now", "heard", "released", "then"),
    [
        (at(), Heard("2", "1"), "", ("", "2")),
        (at("", "2"), Heard("3", "1"), "", ("", "3")),  # the alias moved during an open release
        (at("", "2"), Heard("", "1"), "", ("", "")),  # the alias is gone
        (at("", "2"), Heard("1", "1"), "", ("", "")),  # it names the configured incumbent
        (at("", "2"), Heard("3", "1"), "2", ("", "2")),  # what is released stays until it is the incumbent
        (at("", "2"), Heard("", ""), "2", ("", "2")),
        (at("", "2"), Heard("2", "2"), "2", ("2", "")),  # the champion moved to what was released
        (at("", "2"), Heard("3", "2"), "2", ("2", "3")),
        (at("", "2"), Heard("2", "7"), "", ("", "2")),  # nobody has released 7 here
        (at("2", "3"), Heard("3", "1"), "", ("", "3")),  # back to what the configuration names
        (at("4", "", "2", "3"), Heard("4", "3"), "", ("3", "")),  # back to an earlier incumbent
        (at("4", "", "2"), Heard("2", "4"), "", ("4", "")),  # an earlier incumbent is no candidate
        (at("4", ""), Heard("5", None), "", ("4", "5")),  # the incumbent is not followed
    ],
)
def test_each_move_of_an_alias_has_one_consequence(
    now: Followed, heard: Heard, released: str, then: tuple[str, str]
) -> None:
    found = decided(now, heard, released).followed
    assert (found.standing.incumbent, found.standing.candidate) == then


def test_an_incumbent_that_was_left_can_be_gone_back_to_and_is_no_candidate_then() -> None:
    promoted = decided(at("2", "3"), Heard("3", "3"), "3").followed
    assert (promoted.standing.incumbent, promoted.former) == ("3", ("2",))
    back = decided(promoted, Heard("3", "2")).followed
    assert (back.standing.incumbent, back.standing.candidate, back.former) == ("2", "", ("3",))
    assert "was the incumbent before" in back.reason


@pytest.mark.parametrize("now", [at(), at("", "2"), at("2", "3")])
def test_an_alias_is_no_way_around_the_gates(now: Followed) -> None:
    found = decided(now, Heard(now.standing.candidate, "9"))
    assert found.followed == now
    assert "no release here has brought it there" in found.problem


def test_what_was_followed_is_good_for_its_model_and_beside_its_incumbent_only() -> None:
    kept = replace(at("2", "3", "1"), steps=7)
    assert fresh(RAIN, kept) is kept
    other = replace(RAIN, incumbent=replace(RAIN.incumbent, name="rain-9"))
    anew = fresh(other, kept)
    assert (anew.standing.incumbent, anew.standing.candidate, anew.former, anew.steps) == ("", "", (), 7)
    assert fresh(RAIN, replace(kept, standing=kept.standing._replace(model="fog"))).standing.candidate == ""


def test_what_is_followed_is_in_its_place_with_its_lineage() -> None:
    found = placed(SETTINGS, {"rain": at("2", "3")}).endpoint("rain")
    assert found.candidate is not None
    assert (found.incumbent.name, found.candidate.name) == ("rain-2", "rain-3")
    assert str(found.candidate.upstreams[0]) == "http://models:9000/rain/3"
    assert list(map(str, found.candidate_lineage)) == ["models:/rain/3"]
    assert list(map(str, found.incumbent_lineage)) == ["models:/rain/2"]
    assert placed(SETTINGS, {}) is SETTINGS


def test_a_version_that_is_the_incumbent_by_another_number_is_no_candidate() -> None:
    assert placed(SETTINGS, {"rain": at("", "1")}).endpoint("rain").candidate is None


def test_another_configured_incumbent_ends_what_was_followed_beside_the_old_one() -> None:
    moved = replace(RAIN, incumbent=replace(RAIN.incumbent, name="rain-9"))
    settings = dataclasses.replace(SETTINGS, endpoints=(moved,))
    found = placed(settings, {"rain": at("2", "3")}).endpoint("rain")
    assert found.incumbent.name == "rain-9"
    assert found.candidate is None, "gates are executed on what `fresh` says, which is nothing"


NUMBERS = st.sampled_from(["", "1", "2", "3", "4", "5"])


@given(st.lists(st.tuples(NUMBERS, NUMBERS, st.booleans()), max_size=30))
@options(deadline=None, max_examples=300)
def test_no_incumbent_was_never_trusted_and_no_candidate_is_the_incumbent(
    moves: list[tuple[str, str, bool]],
) -> None:
    now, trusted, same = at(), {"", "1"}, demanded(RAIN)
    for candidate, incumbent, done in moves:
        released = now.standing.candidate if done else ""
        if released:
            trusted.add(released)
        after = decided(now, Heard(candidate, incumbent), released).followed
        standing = after.standing
        assert standing.incumbent in trusted
        if standing.candidate:
            assert not same(standing.candidate, standing.incumbent)
            assert standing.candidate not in after.former
        if released and standing.incumbent == now.standing.incumbent:
            assert standing.candidate == released, "what is released is not taken away from its users"
        assert len(after.former) <= MOST_FORMER
        assert decided(after, Heard(candidate, incumbent), released).followed.standing == standing or released
        now = after
