"""Ranking: what can explain a change stands before what cannot, and nothing is explained by nothing."""

from __future__ import annotations

import random

import pytest

from monitoring.diagnosis.changes import Axis, Change, Diagnosis, Signal
from monitoring.diagnosis.explaining import diagnose, strongest
from monitoring.diagnosis.signals import Answer, Request, series
from tests.support.scenarios import played


def best(found: Diagnosis) -> tuple[Axis, str]:
    return found.explanations[0].axis, found.explanations[0].kind


def test_a_cause_does_not_come_after_its_effect() -> None:
    told = played("concept drift", 1, 1200)
    late = [one._replace(at=told.at + 900) for one in told.changes]
    found = diagnose(told.requests, late, Signal.ACCURACY)
    assert best(found) == (Axis.DATA, "concept")
    assert all(one.kind == "concept" for one in found.explanations if one.score > 0.1)


def test_what_cannot_act_upon_a_signal_hardly_explains_it() -> None:
    told = played("upstream outage: servers", 2, 1200)
    guard = Change(told.at, Axis.CODE, "configuration", "guards", "", affects=frozenset())
    found = diagnose(told.requests, [guard], Signal.ERRORS)
    assert best(found) == (Axis.DATA, "upstream")
    free = diagnose(told.requests, [guard._replace(affects=None)], Signal.ERRORS)
    assert best(free) == (Axis.CODE, "configuration")


def test_a_version_that_answers_as_the_one_before_did_is_no_explanation() -> None:
    """It came with the outage, but its answers fail no more often than the others'."""
    told = played("upstream outage: servers", 3, 1200)
    version = Change(told.at, Axis.MODEL, "version", "rain-9", "", version="rain-9")
    found = diagnose(told.requests, [version], Signal.ERRORS)
    assert best(found) == (Axis.DATA, "upstream")


def test_who_answers_more_explains_what_is_wrong_with_that_version() -> None:
    chance = random.Random(5)

    def answered(at: float, share: float) -> Request:
        version = "rain-2" if chance.random() < share else "rain-1"
        failed = version == "rain-2" and chance.random() < 0.6
        return Request(at, {}, Answer(version, 500 if failed else 200, 0.01, ()))

    requests = [answered(float(at), 0.05 if at < 1500 else 0.5) for at in range(3000)]
    stage = Change(1499.5, Axis.MODEL, "stage", "rain", "canary at 5 % → 50 %", mixes=True)
    other = Change(1490.0, Axis.CODE, "configuration", "x", "")
    found = diagnose(requests, [other, stage], Signal.ERRORS)
    assert best(found) == (Axis.MODEL, "stage")


def test_an_answer_that_changes_under_the_same_name_is_told_where_nothing_was_recorded() -> None:
    told = played("configuration slip: address", 4, 2000)
    found = diagnose(told.requests, [], Signal.ACCURACY)
    assert best(found) == (Axis.MODEL, "artifact")
    assert found.explanations[0].subject == "rain-2"


def test_the_parts_of_another_version_stand_behind_it() -> None:
    told = played("bad retraining", 6, 1200)
    (version,) = [one for one in told.changes if one.kind == "version"]
    data = version._replace(axis=Axis.DATA, kind="version: data", part=2)
    code = version._replace(axis=Axis.CODE, kind="version: commit", part=2)
    found = diagnose(told.requests, [version, data, code], Signal.DIVERGENCE)
    assert [one.kind for one in found.explanations[:3]] == ["version", "version: data", "version: commit"]


def test_a_candidate_that_differs_from_its_first_request_on_is_explained_by_its_coming() -> None:
    told = played("bad retraining", 7, 1200)
    requests = [one for one in told.requests if one.served.version == "rain-1" and one.at > told.at]
    earlier = [replaced(one) for one in told.requests if one.at <= told.at]
    version = Change(told.at, Axis.MODEL, "version", "rain-3", "", version="rain-3")
    found = diagnose([*earlier, *requests], [version], Signal.DIVERGENCE, limit=0.05)
    assert best(found) == (Axis.MODEL, "version")
    assert found.before is None
    part = diagnose([*earlier, *requests], [version], Signal.DIVERGENCE, limit=0.05, complete=False)
    assert part.at is None  # of a stretch nobody knows whether it was so before
    healthy = played("nothing", 7, 1200)
    assert diagnose(healthy.requests, [version], Signal.DIVERGENCE, limit=0.2).at is None


def replaced(one: Request) -> Request:
    return one._replace(mirrored=None)


def test_of_several_changes_the_one_near_the_instant_is_explained() -> None:
    first, then = played("concept drift", 8, 2000), played("concept drift", 9, 2000, begin=first_end() + 60)
    requests = [*first.requests, *then.requests]
    for told in (first, then):
        found = diagnose(requests, [], Signal.ACCURACY, told.at)
        assert found.at is not None
        assert abs(found.at - told.at) < 900


def first_end() -> float:
    return played("concept drift", 8, 2000).requests[-1].at


def test_features_that_are_drift_themselves_are_named() -> None:
    told = played("feature pipeline", 10, 1500)
    found = diagnose(told.requests, [], Signal.DRIFT)
    assert found.subject == "humidity"
    assert best(found) == (Axis.DATA, "feature")


def test_a_cohort_in_which_it_concentrates_is_named() -> None:
    chance = random.Random(11)
    requests = []
    for at in range(2000):
        where = chance.choice(("AT", "IT", "FR"))
        fails = at >= 1000 and where == "IT" and chance.random() < 0.7
        answer = Answer("rain-1", 500 if fails else 200, 0.01)
        requests.append(Request(float(at), {}, answer, cohorts=(where,)))
    found = diagnose(requests, [], Signal.ERRORS, cohorts=["header:x-country"])
    assert [one.place for one in found.concentrations] == ["header:x-country=IT"]


def test_nothing_can_be_said_without_requests_labels_or_features() -> None:
    assert diagnose([], [], Signal.DIVERGENCE).at is None
    told = played("nothing", 12, 300)
    bare = [replace_all(one) for one in told.requests]
    assert "nothing to read accuracy off" in diagnose(bare, [], Signal.ACCURACY).notes[0]
    assert diagnose(bare, [], Signal.DRIFT).notes == ("the log has nothing to read drift off",)
    assert strongest(bare) is None


def replace_all(one: Request) -> Request:
    return one._replace(features={}, labels=(), cohorts=())


@pytest.mark.parametrize("signal", list(Signal))
def test_values_that_no_arithmetic_survives_are_survived(signal: Signal) -> None:
    wild: list[float | str | None] = [
        float("nan"),
        float("inf"),
        -float("inf"),
        1e308,
        None,
        "",
        "x" * 10_000,
    ]
    requests = [
        Request(
            float(at), {"a": wild[at % 7], "b": wild[(at + 3) % 7]},
            Answer("one", (200, 0, 599)[at % 3], 0.1 * at, (wild[at % 7],), (None, 0.5)[at % 2]),
            Answer("two", 200, 0.2, (wild[(at + 1) % 7], 1.0), None), (wild[at % 7],), (None,),
        )
        for at in range(200)
    ]  # fmt: skip
    found = diagnose(requests, [], signal)
    assert 0.0 <= found.p <= 1.0
    assert all(0.0 <= one.score <= 1.0 for one in found.explanations)
    assert all(0.0 <= value <= 1.0 for one in series(signal, requests) for value in one.values)
