"""Labels are held against what was predicted: once each, for pairs that are remembered, in bounded memory."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control.compared import thinned
from control.remembered import Accuracy, Memory
from domain.observation import Divergence, RowFinding
from killswitch.cohorts import MOST_COHORTS, LabelledPair
from killswitch.columns import JudgedPair
from monitoring.labels.truths import Unfit
from tests.support.control import pair


def judged(number: int, incumbent: str | None = "rain", candidate: str | None = "dry") -> JudgedPair:
    found = Divergence(1.0, True, "r", incumbent_label=incumbent, candidate_label=candidate)
    return JudgedPair(pair(number), found, None)


def test_a_label_says_of_both_arms_whether_they_were_right_and_counts_once() -> None:
    memory = Memory(("dry", "rain"))
    memory.put(judged(1), ("header:x-country=NZ",))
    one = pair(1)
    assert memory.join("r1", "rain") == LabelledPair(
        one.unit, ("header:x-country=NZ",), ((True, False),), one.at
    )
    assert memory.join("r1", "rain") is None
    with pytest.raises(KeyError):
        memory.join("r2", "rain")


@pytest.mark.parametrize("label", ["rain", 1, 1.0, True])
def test_a_class_is_meant_by_its_name_or_its_index(label: object) -> None:
    memory = Memory(("dry", "rain"))
    memory.put(judged(1), ())
    found = memory.join("r1", label)
    assert found is not None
    assert found.rows == ((True, False),)


def test_a_batch_takes_a_label_for_each_row() -> None:
    rows = (
        RowFinding(0.0, False, incumbent_label="a", candidate_label="a"),
        RowFinding(1.0, True, incumbent_label="a", candidate_label="b"),
    )
    memory = Memory()
    memory.put(JudgedPair(pair(1), Divergence(0.5, True, "r", rows=rows), None), ())
    with pytest.raises(Unfit, match="1 label for a prediction of 2 rows"):
        memory.join("r1", "a")
    found = memory.join("r1", ["b", "b"])
    assert found is not None
    assert found.rows == ((False, False), (False, True))


def test_of_a_large_batch_the_rows_that_were_compared_are_held_against_their_labels() -> None:
    rows = tuple(RowFinding(0.0, False, incumbent_label=str(n), candidate_label="none") for n in range(2500))
    memory = Memory()
    memory.put(JudgedPair(pair(1), Divergence(1.0, True, "r", rows=thinned(rows)), None), ())
    with pytest.raises(Unfit, match="2000 labels for a prediction of 834 rows"):
        memory.join("r1", [str(n) for n in range(2000)])
    found = memory.join("r1", [str(n) for n in range(2500)])
    assert found is not None
    assert found.rows == ((True, False),) * 834


def test_a_prediction_without_a_class_cannot_be_labelled() -> None:
    memory = Memory()
    memory.put(judged(1, None, None), ())
    with pytest.raises(Unfit, match="names no class"):
        memory.join("r1", "rain")
    memory.put(JudgedPair(pair(2), None, "unreadable"), ())
    assert memory.find("r2") is None


@settings(deadline=None)
@given(st.integers(1, 50), st.integers(0, 200))
def test_the_latest_pairs_are_remembered_and_no_more(most: int, count: int) -> None:
    memory = Memory(most=most)
    for number in range(count):
        memory.put(judged(number), ())
    assert len(memory) == min(most, count)
    assert all(memory.find(f"r{number}") is not None for number in range(max(0, count - most), count))


def test_accuracy_is_counted_for_everybody_and_by_a_bounded_number_of_cohorts() -> None:
    accuracy = Accuracy()
    accuracy.take(
        [LabelledPair(1, ("a", "b"), ((True, False),), 0.0), LabelledPair(1, ("a",), ((True, True),), 0.0)]
    )
    assert accuracy.counts == {"": (2, 2, 1), "a": (2, 2, 1), "b": (1, 1, 0)}
    accuracy.take(LabelledPair(n, (f"c{n}",), ((True, True),), 0.0) for n in range(1000))
    assert len(accuracy.counts) <= MOST_COHORTS + 1
    assert sum(count for cohort, (count, _, _) in accuracy.counts.items() if cohort) == 1003


def test_every_row_of_a_labelled_batch_is_counted() -> None:
    accuracy = Accuracy()
    accuracy.take([LabelledPair(1, ("a",), ((True, False), (True, True), (False, True)), 0.0)])
    assert accuracy.counts == {"": (3, 2, 2), "a": (3, 2, 2)}
