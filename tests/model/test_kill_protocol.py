"""Every history of the kill switch among replicas, within bounds, keeps its laws; failing designs are found.

`POINTSMAN_MODEL=large` searches the larger bounds of `docs/kill-switch.md` too, for some minutes.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.model import designs
from tests.model.checker import Searched, TooManyStates, search
from tests.model.kill_protocol import LAWS, Bounds, KillProtocol

PAGE = (Path(__file__).parents[2] / "docs" / "kill-switch.md").read_text()

BOUNDS = [
    Bounds(replicas=2, kills=2, rearms=1, advances=True),
    Bounds(replicas=2, kills=1, rearms=2, advances=True),
    Bounds(replicas=2, kills=3, rearms=0),
    Bounds(replicas=3, kills=1, rearms=1, advances=True),
    Bounds(replicas=3, kills=2, rearms=0),
]
LARGE = [
    Bounds(replicas=2, kills=2, rearms=2),
    Bounds(replicas=3, kills=1, rearms=2, advances=True),
    Bounds(replicas=4, kills=1, rearms=1, advances=True),
]
SEARCHED = BOUNDS + (LARGE if os.environ.get("POINTSMAN_MODEL") == "large" else [])


def said(bounds: Bounds) -> int:
    """How many states the page says there are."""
    advances = "yes" if bounds.advances else "no"
    row = rf"\| {bounds.replicas} \| {bounds.kills} \| {bounds.rearms} \| {advances} \| ([\d ]+) \|"
    found = re.search(row, PAGE)
    assert found, f"docs/kill-switch.md says nothing about {bounds}"
    return int(found[1].replace(" ", ""))


def searched(design: designs.Product, bounds: Bounds, *laws: str) -> Searched:
    model = KillProtocol(design, bounds, frozenset(laws) or None)
    return search(model.first, model.steps, model.broken)


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("bounds", SEARCHED, ids=lambda one: "-".join(map(str, one)))
def test_no_history_breaks_a_law_of_the_kill_switch(bounds: Bounds) -> None:
    found = searched(designs.Product(), bounds)
    assert found.violation is None
    assert found.states == said(bounds)


@pytest.mark.parametrize(
    ("design", "law"),
    [
        (designs.LastWriterWins(), "K1"),
        (designs.Epochs(), "K1"),
        (designs.IdleEpochs(), "K1"),
        (designs.StoreIsTheTruth(), "K1"),
        (designs.ClearsAll(), "K2"),
        (designs.LastWriterWins(), "K3"),
        (designs.HalfMerge(), "K3"),
        (designs.Forgetful(), "K4"),
        (designs.NoPushBack(), "K5"),
        (designs.ShortList(), "K5"),
        (designs.HopefulStart(), "K6"),
        (designs.Epochs(), "K7"),
        (designs.NoPushBack(), "K7"),
        (designs.RearmOverwrites(), "K8"),
        (designs.KeptStage(), "K12"),
    ],
    ids=lambda one: one if isinstance(one, str) else type(one).__name__,
)
def test_a_design_that_breaks_a_law_is_found_with_a_short_history(design: designs.Product, law: str) -> None:
    found = searched(design, Bounds(advances=law == "K12"), law)
    assert found.violation is not None
    assert found.violation.law == law
    assert 1 <= len(found.violation.history) <= 6


def test_an_epoch_loses_a_kill_made_in_a_partition() -> None:
    """Why kills are sets of ids: a replica that was cut off kills, and a re-arm of others wins over it."""
    found = searched(designs.Epochs(), Bounds(), "K1")
    assert found.violation is not None
    history = found.violation.history
    assert sum(step.startswith("kill") for step in history) == 2
    assert history[-2].startswith("a re-arm of [0]")


def test_every_law_is_one_that_some_design_breaks() -> None:
    marks = test_a_design_that_breaks_a_law_is_found_with_a_short_history.pytestmark  # type: ignore[attr-defined]
    assert {law for _, law in marks[0].args[1]} == set(LAWS)


def test_a_search_that_is_cut_short_is_no_proof() -> None:
    model = KillProtocol(designs.Product(), Bounds())
    with pytest.raises(TooManyStates):
        search(model.first, model.steps, model.broken, most=1000)


def test_the_search_sees_every_state_and_shows_a_shortest_history() -> None:
    def steps(state: int) -> list[tuple[str, int]]:
        return [("double", state * 2 % 101), ("add", (state + 1) % 101)]

    assert search(0, steps, lambda state: None).states == 101
    found = search(1, steps, lambda state: "reached" if state == 20 else None)
    assert found.violation is not None
    assert found.violation.history == ("double", "double", "add", "double", "double")
