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
_MODE = values.choice("shadow", "guarded", "canary")
_RISK = (Mode.SHADOW, Mode.GUARDED, Mode.CANARY)


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
    mode = section.need("mode", _MODE, "shadow, guarded or canary")
    weight = section.take("weight", _weight, 0)
    pairs = section.take("pairs", _PAIRS, 0 if last else DEFAULT_PAIRS)
    at_least = section.take("at_least", _AT_LEAST, 0.0)
    if mode == Mode.SHADOW and section.holds("weight"):
        section.refuse("weight", section.given("weight"), "a shadow stage serves nobody; leave it out")
    if mode in (Mode.GUARDED, Mode.CANARY) and not section.holds("weight"):
        section.refuse("weight", None, f"a {mode} stage needs a weight above 0% and up to 100%")
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
        if _RISK.index(stage.mode) < _RISK.index(before.mode):
            if section.given("mode") == stage.mode:  # else the mode is wrong already, and stands for another
                allowed = f"{stage.mode} stages come before {before.mode} stages"
                section.refuse("mode", stage.mode.value, allowed)
        elif stage.mode is before.mode and 0 < stage.weight < before.weight:
            least = f"{before.weight / 100:g}%"
            allowed = f"weights of {stage.mode} stages never go down; at least {least}"
            section.refuse("weight", section.given("weight"), allowed)
