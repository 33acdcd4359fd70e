"""How far two answers of an object detector are apart.

Boxes of one class are paired so that the sum of their intersections over union is the largest, among those
that overlap enough (`iou`) to be the same object (`comparators.matching`). The score of an image is
1 − 2·Σ IoU / (n + m): an F1 in which a pair counts by how well it overlaps; 0 when all n boxes are found
again where they were, 1 when none is. The image is a flip when the F1 of the objects, 2·pairs / (n + m), is
lower than 1 by more than the tolerance, so by default when any object is lost, gained or of another class.
Two images without any object are equal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from comparators.detections import NO_CLASS, Box, images
from comparators.kind import Finding, PredictionPair, RowDistance, compare_rows
from comparators.matching import best_pairs
from comparators.prediction import Prediction, Values
from comparators.wording import clipped, counted, plainly, shortened
from settings.schema import CompareSettings

TOLERANCE = 0.0

_BOXES_SHOWN = 50
_IMAGES_SHOWN = 20
_CLASSES_TOLD = 3


class Boxes:
    """Compares predictions as boxes of objects."""

    def __init__(self, settings: CompareSettings) -> None:
        self._form = settings.format
        self._least = settings.threshold
        self._iou = settings.iou
        self._tolerance = TOLERANCE if settings.tolerance is None else settings.tolerance

    def compare_many(self, pairs: Sequence[PredictionPair]) -> list[Finding]:
        """A fault for the arm whose answer holds no boxes."""
        return [compare_rows(pair, "image", self._images, self._distance) for pair in pairs]

    def describe(self, prediction: Prediction) -> object:
        """`[{box, confidence, label}, ...]`, or a list of such lists. Raises Unreadable."""
        found = [
            shortened([*map(_described, image[:_BOXES_SHOWN]), *image[_BOXES_SHOWN:]], _BOXES_SHOWN)
            for image in self._images(prediction)
        ]
        return found[0] if len(found) == 1 else shortened(found, _IMAGES_SHOWN)

    def _images(self, prediction: Prediction) -> list[list[Box]]:
        return images(prediction, self._form, self._least)

    def _distance(self, incumbent: list[Box], candidate: list[Box]) -> RowDistance:
        count = len(incumbent) + len(candidate)
        if not count:
            return RowDistance(0.0, False, "no boxes in either")
        pairs, overlap = 0, 0.0
        lost, gained = Counter[str](), Counter[str]()
        for label in sorted({box.label for box in (*incumbent, *candidate)}):
            first = [box for box in incumbent if box.label == label]
            second = [box for box in candidate if box.label == label]
            overlaps = intersections_over_unions(first, second)
            found = best_pairs(overlaps, self._iou)
            pairs += len(found)
            overlap += sum(float(overlaps[row, column]) for row, column in found)
            lost[label], gained[label] = len(first) - len(found), len(second) - len(found)
        score = min(1.0, max(0.0, 1.0 - 2.0 * overlap / count))
        flip = 1.0 - 2.0 * pairs / count > self._tolerance
        boxes = counted(len(incumbent), "box").replace("boxs", "boxes")
        told = f"{boxes} → {len(candidate)}, {pairs} in place"
        changes = [*(f"−{many}" for many in _told(lost)), *(f"+{many}" for many in _told(gained))]
        if changes:
            told += f": {' '.join(changes[:_CLASSES_TOLD])}"
        return RowDistance(score, flip, f"{told}, overlap F1 {1.0 - score:.2g}")


def intersections_over_unions(first: Sequence[Box], second: Sequence[Box]) -> Values:
    """Shape (first, second); 1 for equal boxes, those of no area included, and 0 for disjoint ones."""
    a = np.array([box.corners for box in first], dtype=np.float64).reshape(-1, 1, 4)
    b = np.array([box.corners for box in second], dtype=np.float64).reshape(1, -1, 4)
    with np.errstate(all="ignore"):
        sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
        shared = np.maximum(sides, 0.0).prod(axis=2)
        union = _areas(a) + _areas(b) - shared
        found: Values = np.clip(shared / union, 0.0, 1.0)
    found[np.isnan(found)] = 0.0
    found[(a == b).all(axis=2)] = 1.0
    return found


def _areas(corners: Values) -> Values:
    areas: Values = (corners[..., 2:] - corners[..., :2]).prod(axis=2)
    return areas


def _told(counts: Counter[str]) -> list[str]:
    most = [(label, count) for label, count in counts.most_common() if count]
    return [
        f"{count}" if label == NO_CLASS else f"{count} {plainly(clipped(label))}" for label, count in most
    ]


def _described(box: Box) -> dict[str, object]:
    found: dict[str, object] = {"box": list(box.corners)}
    if box.confidence is not None:
        found["confidence"] = box.confidence
    if box.label != NO_CLASS:
        found["label"] = clipped(box.label)
    return found
