"""Distances between the boxes of object detectors."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from comparators.boxes import Boxes, intersections_over_unions
from comparators.comparison import Comparison
from comparators.detections import MOST_BOXES, Box, images
from comparators.kind import compare_one
from comparators.matching import EXACT, best_pairs
from comparators.prediction import Prediction, Unreadable
from domain.errors import ComparatorFault
from domain.observation import Divergence, Observation, Outcome
from domain.routing import Arm
from settings.schema import CompareSettings

KIND = Boxes(CompareSettings("boxes"))


def image(*boxes: tuple[float, ...], labels: list[object] | None = None) -> Prediction:
    value: dict[str, object] = {"boxes": [list(box) for box in boxes]}
    if labels is not None:
        value["labels"] = labels
    return Prediction("p", 1, 1, structure=value)


def compare(incumbent: Prediction, candidate: Prediction) -> Divergence:
    return compare_one(KIND, incumbent, candidate)


@pytest.mark.parametrize(
    ("incumbent", "candidate", "score", "flip", "reason"),
    [
        (image(), image(), 0.0, False, "no boxes in either"),
        (
            image((0, 0, 10, 10)),
            image((0, 0, 10, 10)),
            0.0,
            False,
            "1 box → 1, 1 in place, overlap F1 1",
        ),
        # Half of the box is shared: 50 of 150.
        (
            image((0, 0, 10, 10)),
            image((5, 0, 15, 10)),
            1.0,
            True,
            "1 box → 1, 0 in place: −1 +1, overlap F1 0",
        ),
        # 80 of 120.
        (
            image((0, 0, 10, 10)),
            image((2, 0, 12, 10)),
            1 / 3,
            False,
            "1 box → 1, 1 in place, overlap F1 0.67",
        ),
        (
            image((0, 0, 1, 1), (5, 5, 6, 6), labels=["dog", "cat"]),
            image((0, 0, 1, 1), labels=["dog"]),
            1 / 3,
            True,
            "2 boxes → 1, 1 in place: −1 cat, overlap F1 0.67",
        ),
        (
            image((0, 0, 1, 1), labels=["dog"]),
            image((0, 0, 1, 1), labels=["cat"]),
            1.0,
            True,
            "1 box → 1, 0 in place: −1 dog +1 cat, overlap F1 0",
        ),
        (image((0, 0, 1, 1)), image(), 1.0, True, "1 box → 0, 0 in place: −1, overlap F1 0"),
    ],
)
def test_the_finding_in_words(
    incumbent: Prediction, candidate: Prediction, score: float, flip: bool, reason: str
) -> None:
    found = compare(incumbent, candidate)
    assert (found.score, found.flip, found.reason) == (pytest.approx(score), flip, reason)


def test_a_tolerance_forgives_a_lost_object() -> None:
    lenient = Boxes(CompareSettings("boxes", tolerance=0.4))
    found = compare_one(lenient, image((0, 0, 1, 1), (5, 5, 6, 6)), image((0, 0, 1, 1)))
    assert not found.flip


WRITTEN: list[tuple[str, object]] = [
    ("xyxy", {"boxes": [[1, 2, 3, 5]], "scores": [0.9], "labels": [7]}),
    ("xyxy", {"detection_boxes": [[1, 2, 3, 5]], "detection_scores": [0.9], "detection_classes": [7.0]}),
    ("xyxy", [{"box": [1, 2, 3, 5], "score": 0.9, "label": "7"}]),
    ("xyxy", [{"bbox": {"xmin": 1, "ymin": 2, "xmax": 3, "ymax": 5}, "confidence": 0.9, "class": 7}]),
    ("xyxy", [{"xmin": 1, "ymin": 2, "xmax": 3, "ymax": 5, "score": 0.9, "label": 7}]),
    ("xyxy", [[1, 2, 3, 5, 0.9, 7]]),
    ("xyxy", [[3, 5, 1, 2, 0.9, 7]]),
    ("xywh", [[1, 2, 2, 3, 0.9, 7]]),
    ("cxcywh", [[2, 3.5, 2, 3, 0.9, 7]]),
]


@pytest.mark.parametrize(("form", "value"), WRITTEN, ids=range(len(WRITTEN)))
def test_every_way_to_write_a_box_is_read(form: str, value: object) -> None:
    expected = [[Box((1.0, 2.0, 3.0, 5.0), 0.9, "7")]]
    assert images(Prediction("p", 1, 1, structure=value), form, 0.5) == expected
    batch = value if isinstance(value, dict) else None
    twice: object = [value, value]
    if batch is not None:
        columns = {name: [column, column] for name, column in batch.items()}
        assert images(Prediction("p", 1, 1, structure=columns), form, 0.5) == expected * 2
    assert images(Prediction("p", 2, 1, structure=twice), form, 0.5) == expected * 2
    assert images(Prediction("p", 1, 1, structure=twice), form, 0.5) == expected * 2


def test_a_table_of_numbers_is_one_image() -> None:
    table = Prediction("p", 2, 6, (0, 0, 1, 1, 0.9, 1.0, 5, 5, 6, 6, 0.2, 1.0))
    assert images(table, "xyxy", 0.5) == [[Box((0.0, 0.0, 1.0, 1.0), 0.9, "1")]]
    assert images(Prediction("p", 2, 1, structure=[[], [[0, 0, 1, 1]]]), "xyxy", 0.5) == [
        [],
        [Box((0.0, 0.0, 1.0, 1.0), None, "")],
    ]
    assert images(Prediction("p", 1, 1, structure={"boxes": [[], [[0, 0, 1, 1]]]}), "xyxy", 0.5)[0] == []


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (3, "not a list of boxes"),
        (None, "not a list of boxes"),
        ({"boxes": 1}, "has no list of boxes"),
        ({"boxes": [[0, 0, 1, 1]], "scores": []}, "1 boxes and not as many scores"),
        ([[0, 0, 1]], "a box of 4 to 6 numbers"),
        ([{"box": [0, 0, 1]}], "a box of 4 numbers"),
        ([[0, 0, 1, math.nan]], "NaN for a corner"),
        ([[0, 0, 1, math.inf]], "Infinity for a corner"),
        ([[0, 0, 1, 1, math.nan]], "NaN for a confidence"),
        ([[0, 0, 1, "1"]], "text for a corner"),
        ([[0, 0, 1, True]], "true or false for a corner"),
        ([[0, 0, at, 1] for at in range(MOST_BOXES + 1)], "501 boxes in an image"),
    ],
)
def test_what_is_no_box_is_the_fault_of_its_arm(value: object, reason: str) -> None:
    bad, good = Prediction("p", 1, 1, structure=value), image((0, 0, 1, 1))
    for pair, arm in (((bad, good), Arm.INCUMBENT), ((good, bad), Arm.CANDIDATE)):
        with pytest.raises(ComparatorFault, match=reason) as caught:
            compare(*pair)
        assert caught.value.arm is arm


def test_an_image_without_objects_is_an_answer() -> None:
    def seen(document: object) -> Observation:
        return Observation("v", Outcome.ANSWERED, 200, 0.1, json.dumps(document).encode())

    def tensors(*outputs: tuple[str, list[int], list[float]]) -> Observation:
        found = [
            {"name": name, "shape": shape, "datatype": "FP32", "data": data} for name, shape, data in outputs
        ]
        return seen({"outputs": found})

    v2 = Comparison("v2", CompareSettings("boxes"))
    plain = Comparison("json", CompareSettings("boxes"))
    for comparison, one, none in (
        (v2, tensors(("p", [1, 6], [0, 0, 1, 1, 0.9, 3])), tensors(("p", [0, 6], []))),
        (
            v2,
            tensors(("boxes", [1, 4], [0, 0, 1, 1]), ("scores", [1], [0.9])),
            tensors(("boxes", [0, 4], []), ("scores", [0], [])),
        ),
        (plain, seen([[0, 0, 1, 1]]), seen([])),
        (plain, seen({"boxes": [[0, 0, 1, 1]]}), seen({"boxes": []})),
    ):
        assert comparison.compare(one, one._replace(body=one.body + b" ")).score == 0.0
        found = comparison.compare(one, none)
        assert (found.score, found.flip) == (1.0, True)
        assert comparison.compare(none, one).flip
        assert comparison.compare(none, none._replace(body=none.body + b" ")).reason == "no boxes in either"
    batch = tensors(("p", [2, 1, 6], [0, 0, 1, 1, 0.9, 3] * 2))
    other = tensors(("p", [2, 1, 6], [0, 0, 1, 1, 0.9, 3, 5, 5, 6, 6, 0.9, 3]))
    assert [row.score for row in v2.compare(batch, other).rows] == [0.0, 1.0]
    found = v2.compare(batch, tensors(("p", [2, 0, 6], [])))
    assert [row.flip for row in found.rows] == [True, True]
    with pytest.raises(ComparatorFault, match="empty rows"):
        v2.compare(tensors(("p", [10**9, 0], [])), batch)


def test_overlaps_of_known_boxes() -> None:
    boxes = [Box((0, 0, 2, 2), None, ""), Box((1, 1, 3, 3), None, ""), Box((9, 9, 9, 9), None, "")]
    assert intersections_over_unions(boxes, boxes).tolist() == [
        [1.0, pytest.approx(1 / 7), 0.0],
        [pytest.approx(1 / 7), 1.0, 0.0],
        [0.0, 0.0, 1.0],
    ]
    huge = [Box((-1e308, -1e308, 1e308, 1e308), None, "")]
    assert intersections_over_unions(huge, huge).tolist() == [[1.0]]
    assert intersections_over_unions([], boxes).shape == (0, 3)


@settings(deadline=None)
@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_the_pairing_is_the_best_of_all(rows: int, columns: int, seed: int) -> None:
    likeness = np.random.default_rng(seed).random((rows, columns))
    least = 0.3
    best = 0.0
    padded = [*range(columns), *[-1] * rows]
    for chosen in set(itertools.permutations(padded, rows)):
        found = [likeness[row, at] for row, at in enumerate(chosen) if at >= 0 and likeness[row, at] >= least]
        best = max(best, float(sum(found)))
    pairs = best_pairs(likeness, least)
    assert sum(likeness[row, column] for row, column in pairs) == pytest.approx(best)
    assert len({row for row, _ in pairs}) == len({column for _, column in pairs}) == len(pairs)


def test_a_greedy_choice_would_be_worse() -> None:
    likeness = np.array([[0.9, 0.8], [0.8, 0.1]])
    assert best_pairs(likeness, 0.1) == [(0, 1), (1, 0)]
    heap = np.full((EXACT + 1, EXACT + 1), 0.6) + 0.3 * np.eye(EXACT + 1)
    assert best_pairs(heap, 0.5) == [(at, at) for at in range(EXACT + 1)]
    tall = np.full((40, 2), 0.6)
    assert len(best_pairs(tall, 0.5)) == 2
    assert best_pairs(tall[:20], 0.5) == sorted((row, at) for at, row in best_pairs(tall[:20].T, 0.5))


COORDINATE = st.integers(0, 6)
BOXES = st.lists(
    st.tuples(COORDINATE, COORDINATE, COORDINATE, COORDINATE, st.just(0.9), st.sampled_from(["dog", "cat"])),
    max_size=5,
)


@settings(deadline=None)
@given(BOXES, BOXES)
def test_the_score_is_symmetric_and_within_its_bounds(
    one: list[tuple[object, ...]], other: list[tuple[object, ...]]
) -> None:
    first, second = (Prediction("p", 1, 1, structure=[list(box) for box in boxes]) for boxes in (one, other))
    there, back = compare(first, second), compare(second, first)
    assert 0.0 <= there.score <= 1.0
    assert there.score == pytest.approx(back.score)
    same = compare(first, first._replace())
    assert (same.score, same.flip) == (pytest.approx(0.0), False)


@settings(deadline=None)
@given(st.floats(0, 20), st.floats(0, 20))
def test_a_box_that_moved_further_never_scores_lower(near: float, far: float) -> None:
    near, far = sorted((near, far))
    at = image((0, 0, 10, 10))
    one, other = (compare(at, image((by, 0, 10 + by, 10))) for by in (near, far))
    assert one.score <= other.score + 1e-12
    assert one.flip <= other.flip


def test_a_batch_has_a_finding_an_image() -> None:
    both = Prediction("p", 2, 1, structure=[[[0, 0, 1, 1]], [[0, 0, 1, 1]]])
    found = compare(both, both._replace(structure=[[[0, 0, 1, 1]], []]))
    assert [(row.score, row.flip) for row in found.rows] == [(0.0, False), (1.0, True)]


def test_people_see_boxes() -> None:
    shown = KIND.describe(Prediction("p", 1, 1, structure=[[0, 0, 1, 1, 0.9, "dog"]]))
    assert shown == [{"box": [0.0, 0.0, 1.0, 1.0], "confidence": 0.9, "label": "dog"}]
    many = KIND.describe(image(*[(0, 0, at, 1) for at in range(60)]))
    assert isinstance(many, list)
    assert many[-1] == "… 10 more"
    json.dumps(many)
    with pytest.raises(Unreadable):
        KIND.describe(Prediction("p", 1, 1, structure="x"))
