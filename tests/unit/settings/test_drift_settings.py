"""What drift is measured against, as configured: defaults, and refusals that name the way out."""

from __future__ import annotations

from typing import Any

import pytest

from domain.errors import ConfigError
from settings.parse import parse
from settings.schema import DriftSettings


def configured(drift: object = None, **more: Any) -> DriftSettings:
    rain: dict[str, Any] = {
        "path": "/rain", "protocol": "json", "unit": "request", "compare": {"kind": "regression"},
        "incumbent": {"version": "one", "urls": ["http://127.0.0.1:9001"]}, **more,
    }  # fmt: skip
    if drift is not None:
        rain["drift"] = drift
    return parse({"endpoints": {"rain": rain}}).endpoints[0].drift


def test_without_a_word_it_is_learned_from_an_hour() -> None:
    assert configured() == DriftSettings("learned", 1000, 3600.0, 20, ())


def test_everything_can_be_said() -> None:
    found = configured({"learn": 200, "over": "1d", "categories": 5, "ranges": {"b": [0, 1], "a": [-1, 2.5]}})
    assert (found.learn, found.over, found.categories) == (200, 86_400.0, 5)
    assert found.ranges == (("a", (-1.0, 2.5)), ("b", (0.0, 1.0)))


def test_a_reference_file_of_the_guard_is_the_profiles_too() -> None:
    guards = {"drift": {"shift": "10%", "reference": "profile.csv"}}
    assert configured(guards=guards).reference == "profile.csv"
    assert configured({"reference": "lineage"}, guards=guards).reference == "lineage"


def test_so_much_is_learned_that_the_guard_can_rest_on_it() -> None:
    guards = {"drift": {"shift": "5%", "learn": 3600}}
    assert configured(guards=guards).learn == 3600
    assert configured(guards={"drift": {"shift": "20%"}}).learn == 1000


@pytest.mark.parametrize(
    ("drift", "more", "where", "way_out"),
    [
        ({"learn": 99}, {}, "drift.learn", "100"),
        ({"over": "8d"}, {}, "drift.over", "7d"),
        ({"categories": 0}, {}, "drift.categories", "1"),
        ({"ranges": {"age": [3, 1]}}, {}, "drift.ranges.age", "[0, 100]"),
        ({"ranges": {"age": [0, float("nan")]}}, {}, "", "number"),
        ({"ranges": {"age": "0-7"}}, {}, "drift.ranges.age", "[0, 100]"),
        ({"reference": "lineage", "learn": 500}, {}, "drift.learn", "leave one of them out"),
        ({"reference": "a.csv", "over": "1h"}, {}, "drift.over", "leave one of them out"),
        ({"learn": 500}, {"log": {"records": "off"}}, "endpoints.rain.drift", "log.records"),
        ({"learn": 100}, {"guards": {"drift": {"shift": "10%"}}}, "drift.learn", "learn from 900"),
        ({"refrence": "a.csv"}, {}, "drift.refrence", "reference"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_way_out(
    drift: object, more: dict[str, Any], where: str, way_out: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        configured(drift, **more)
    assert where in refused.value.path
    assert way_out in str(refused.value)
