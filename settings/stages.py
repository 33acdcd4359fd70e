"""Reading a release plan: stages in the order of their risk, moved on by evidence."""

from __future__ import annotations

from domain.routing import Mode
from settings import units, values
from settings.reader import Section
from settings.schema import Stage

DEFAULT_PAIRS = 500
"""Pairs of a stage that names none and is not the last: no stage moves on by time alone."""

_MOST_STAGES = 100
_PAIRS = values.whole(0, 1_000_000_000)
_AT_LEAST = values.duration("0s", "365d")
_MODE = values.only(("shadow", "canary"), ("guarded",), "this version cannot ask both arms before it answers")


def plan(endpoint: Section) -> tuple[Stage, ...]:
    """The stages under `plan`; one shadow stage when there is no plan."""
    sections = endpoint.sections("plan")
    if not endpoint.holds("plan"):
        return (Stage(Mode.SHADOW),)
    if endpoint.given("plan") == []:
        endpoint.refuse("plan", [], "give at least one stage, or leave the plan out to stay in shadow")
    if len(sections) > _MOST_STAGES:
        endpoint.refuse("plan", endpoint.given("plan"), f"a plan has at most {_MOST_STAGES} stages")
    last = len(sections) - 1
    stages = tuple(_stage(section, last=index == last) for index, section in enumerate(sections))
    _check_order(sections, stages)
    return stages


def _stage(section: Section, *, last: bool) -> Stage:
    mode = section.need("mode", _MODE, "shadow or canary")
    weight = section.take("weight", _weight, 0)
    pairs = section.take("pairs", _PAIRS, 0 if last else DEFAULT_PAIRS)
    at_least = section.take("at_least", _AT_LEAST, 0.0)
    if mode == Mode.SHADOW and section.holds("weight"):
        section.refuse("weight", section.given("weight"), "a shadow stage serves nobody; leave it out")
    if mode == Mode.CANARY and not section.holds("weight"):
        section.refuse("weight", None, "a canary stage needs a weight above 0% and up to 100%")
    if pairs == 0 and not last:
        section.refuse("pairs", 0, "only the last stage may do without: no stage moves on by time alone")
    return Stage(Mode(mode or Mode.SHADOW), weight, pairs, at_least)


def _weight(value: object) -> int:
    points = units.basis_points(value)
    if points == 0:
        raise ValueError("a weight is above 0% and up to 100%; a stage without one is 'mode: shadow'")
    return points


def _check_order(sections: tuple[Section, ...], stages: tuple[Stage, ...]) -> None:
    for section, before, stage in zip(sections[1:], stages, stages[1:], strict=False):
        if before.mode is Mode.CANARY and section.given("mode") == Mode.SHADOW:
            section.refuse("mode", "shadow", "shadow stages come before canary stages")
        elif stage.mode is Mode.CANARY and 0 < stage.weight < before.weight:
            least = f"{before.weight / 100:g}%"
            section.refuse("weight", section.given("weight"), f"weights never go down; at least {least}")
