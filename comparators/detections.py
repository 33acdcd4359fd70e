"""The boxes in an answer of an object detector, whichever way they are written.

    {"boxes": [[x, y, x, y], ...], "scores": [...], "labels": [...]}    one list each, as torchvision has them
    [{"box": [...], "score": 0.9, "label": "dog"}, ...]                 an object each, as pipelines have them
    [[x, y, x, y, 0.9, 3], ...]                                         a row each: box, score, class

`bbox`, `confidence`, `class` and their plurals are understood too, and a box may be an object with the keys
xmin, ymin, xmax and ymax. A list of any of these is a batch of images.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from comparators.prediction import Prediction, Unreadable
from comparators.readers.scalars import noun
from comparators.wording import number

MOST_BOXES = 500
"""Boxes of one image that are compared, after the least confidence; detectors answer 100 or 300 at most."""

NO_CLASS = ""

_BOXES = ("boxes", "bboxes", "box", "bbox", "detection_boxes")
_SCORES = ("scores", "score", "confidences", "confidence", "detection_scores")
_LABELS = ("labels", "label", "classes", "class", "class_id", "detection_classes")
_CORNERS = ("xmin", "ymin", "xmax", "ymax")


class Box(NamedTuple):
    """One object: its corners (left, top, right, bottom), the detector's confidence in it, its class."""

    corners: tuple[float, float, float, float]
    confidence: float | None
    label: str


def images(prediction: Prediction, form: str, least: float) -> list[list[Box]]:
    """The boxes of each image; those with less than `least` confidence are left out.

    `form` is xyxy (corners), xywh (left, top, width, height) or cxcywh (centre, width, height).
    Raises Unreadable.
    """
    reading = _Reading(prediction.name, form, least)
    width, value = prediction.width, prediction.structure
    if prediction.has_numbers and 4 <= width <= 6 and not _is_deep(value):
        numbers = prediction.real()
        rows = [list(numbers[at : at + width]) for at in range(0, len(numbers), width)]
        return [reading.image(rows)]
    if prediction.rows > 1 and isinstance(value, list) and not _is_image(value):
        return [reading.image(one) for one in value]
    if isinstance(value, dict) and (batch := _batch(value)):
        return [reading.image(one) for one in batch]
    if isinstance(value, list) and value and not _is_image(value):
        return [reading.image(one) for one in value]
    return [reading.image(value)]


def _is_image(value: object) -> bool:
    """Whether a list holds boxes, and not images."""
    if not isinstance(value, list) or not value:
        return True
    first = value[0]
    if isinstance(first, dict):
        boxes = _named(first, _BOXES)
        return not (isinstance(boxes, list) and (not boxes or isinstance(boxes[0], list | dict)))
    return isinstance(first, list) and bool(first) and not isinstance(first[0], list | dict)


def _is_deep(value: object) -> bool:
    """Whether there are arrays in the arrays of an array: boxes by image."""
    inner = value[0] if isinstance(value, list) and value else None
    return isinstance(inner, list) and bool(inner) and isinstance(inner[0], list)


def _batch(value: dict[str, object]) -> list[object]:
    """The images of one object whose lists are of images; empty when they are of boxes."""
    boxes = _named(value, _BOXES)
    if not isinstance(boxes, list) or not boxes or not isinstance(boxes[0], list):
        return []
    if boxes[0] and not isinstance(boxes[0][0], list):
        return []
    found: list[object] = []
    for at, of_one in enumerate(boxes):
        image: dict[str, object] = {"boxes": of_one}
        for name, names in (("scores", _SCORES), ("labels", _LABELS)):
            column = _named(value, names)
            if isinstance(column, list):
                image[name] = column[at] if at < len(column) else None
        found.append(image)
    return found


class _Reading(NamedTuple):
    """How the boxes of one answer are read."""

    name: str
    form: str
    least: float

    def image(self, value: object) -> list[Box]:
        """The boxes of one image. Raises Unreadable."""
        found = [
            box
            for box in map(self._box, self._parts(value))
            if box.confidence is None or box.confidence >= self.least
        ]
        if len(found) > MOST_BOXES:
            raise Unreadable(
                f"{self.name} has {len(found)} boxes in an image; up to {MOST_BOXES} are compared"
            )
        return found

    def _parts(self, value: object) -> Iterator[tuple[object, object, object]]:
        """Box, confidence and class of each object, as written; None for what is not given."""
        if isinstance(value, dict):
            boxes = _named(value, _BOXES)
            scores, labels = _named(value, _SCORES), _named(value, _LABELS)
            if not isinstance(boxes, list):
                raise Unreadable(f"{self.name} has no list of boxes")
            for what, column in (("scores", scores), ("labels", labels)):
                if column is not None and (not isinstance(column, list) or len(column) != len(boxes)):
                    raise Unreadable(f"{self.name} has {len(boxes)} boxes and not as many {what}")
            for at, box in enumerate(boxes):
                score = scores[at] if isinstance(scores, list) else None
                yield box, score, labels[at] if isinstance(labels, list) else None
            return
        if not isinstance(value, list):
            raise Unreadable(f"{self.name} is {noun(value)}, not a list of boxes")
        for one in value:
            if isinstance(one, dict):
                box = _named(one, _BOXES)
                yield one if box is None else box, _named(one, _SCORES), _named(one, _LABELS)
            elif isinstance(one, list) and 4 <= len(one) <= 6:
                yield one[:4], one[4] if len(one) > 4 else None, one[5] if len(one) > 5 else None
            else:
                raise Unreadable(f"{self.name} holds {noun(one)} where a box of 4 to 6 numbers is needed")

    def _box(self, part: tuple[object, object, object]) -> Box:
        box, score, label = part
        if isinstance(box, dict):
            box = [box.get(name) for name in _CORNERS]
        if not isinstance(box, list) or len(box) != 4:
            raise Unreadable(f"{self.name} holds {noun(box)} where a box of 4 numbers is needed")
        confidence = None if score is None else self._real(score, "confidence")
        return Box(_corners([self._real(one, "corner") for one in box], self.form), confidence, _label(label))

    def _real(self, value: object, what: str) -> float:
        if type(value) not in (int, float) or not isinstance(value, int | float):
            raise Unreadable(f"{self.name} has {noun(value)} for a {what}")
        if not math.isfinite(value):
            raise Unreadable(f"{self.name} has {number(value)} for a {what}")
        return float(value)


def _corners(box: Sequence[float], form: str) -> tuple[float, float, float, float]:
    a, b, c, d = box
    if form == "xywh":
        c, d = a + c, b + d
    elif form == "cxcywh":
        a, b, c, d = a - c / 2, b - d / 2, a + c / 2, b + d / 2
    return min(a, c), min(b, d), max(a, c), max(b, d)


def _label(label: object) -> str:
    """The class as text; 3 and 3.0, as tables of numbers write it, are the same."""
    if label is None:
        return NO_CLASS
    if isinstance(label, float) and label.is_integer():
        return str(int(label))
    return str(label)


def _named(value: dict[str, object], names: Sequence[str]) -> object:
    return next((value[name] for name in names if name in value), None)
