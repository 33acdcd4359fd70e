"""How good predictions were, as sums: what is known of one version, one cohort and one stretch of time.

The problem. Labels come for weeks, out of order, and are corrected. Figures that were worked out from all
records each time would cost a scan of the log at every look.

The idea. Everything is a sum over rows, so that a label adds to it, a correction takes the old row away and
adds the new one, and stretches of time are put together by adding. A `Tally` is what is summed, `figures`
what is told of it.

What is exact, and what is not. Accuracy, precision, recall, mean absolute and root mean squared error are
exact. So is the log loss of two classes, and the calibration error of the class that was named (its
confidence is all that a record has; of more than two classes the log loss is that of "the named class is
right", a lower bound of the usual one). The area under the curve is of scores put into `FINE` bins, even
in log odds: `auc_error` says how far it can be from that of the scores themselves.

Sources. Guo, Pleiss, Sun & Weinberger, "On calibration of modern neural networks", ICML 2017 (the expected
calibration error, of the named class); Fawcett, "An introduction to ROC analysis", 2006 (the area, ties
counting one half).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from math import nan
from operator import eq
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from monitoring.labels.truths import Rows, Truth

OTHER = "(other)"
MOST_CLASSES = 32
"""Classes of one tally, and of what is told, that are told apart."""
LONGEST_CLASS = 100
COARSE = 10
"""Bins of the calibration table, even in confidence."""
FINE = 512
"""Bins of the scores, even in log odds between ±`_FAR`."""
_FAR = math.log(1e6)
_LEAST = 1e-15

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Bin = tuple[int, float, int]
"""Of a bin of the calibration table: rows, their confidences' sum, how many were right."""


class Tally(msgspec.Struct, array_like=True):
    """Sums over rows.

    Attributes:
        rows, right: of classes: how many, and how many were right.
        confused: rows by true class and predicted class.
        loss: the sum of the log losses of the rows whose confidence is known.
        calibration: COARSE bins of those rows; empty while there is none.
        scores: by predicted class and bin of its confidence, (right, wrong); None: there are more than two
            classes.
        numbers, absolute, squared, signed: of numbers: how many, and the sums of |e|, e² and e, e = predicted
            − true.
    """

    rows: int = 0
    right: int = 0
    confused: dict[str, dict[str, int]] = msgspec.field(default_factory=dict)
    loss: float = 0.0
    calibration: list[Bin] = msgspec.field(default_factory=list)
    scores: dict[str, dict[int, tuple[int, int]]] | None = msgspec.field(default_factory=dict)
    numbers: int = 0
    absolute: float = 0.0
    squared: float = 0.0
    signed: float = 0.0

    def add(self, rows: Rows, sign: int = 1) -> None:
        """Add rows; with `sign` −1 take away what was added before."""
        if rows.truths and isinstance(rows.truths[0], str):
            self._add_classes(rows, sign)
        else:
            self._add_numbers(rows, sign)

    def merge(self, other: Tally) -> None:
        """Add another tally's sums."""
        self.rows += other.rows
        self.right += other.right
        self.loss += other.loss
        for truth, row in other.confused.items():
            for predicted, count in row.items():
                self._confuse(truth, predicted, count)
        if other.calibration:
            self.calibration = [
                (mine[0] + theirs[0], mine[1] + theirs[1], mine[2] + theirs[2])
                for mine, theirs in zip(self.calibration or _EMPTY, other.calibration, strict=True)
            ]
        if self.scores is None or other.scores is None:
            self.scores = None
        else:
            for name, bins in other.scores.items():
                for place, (right, wrong) in bins.items():
                    self._score(name, place, right, wrong)
        self.numbers += other.numbers
        self.absolute += other.absolute
        self.squared += other.squared
        self.signed += other.signed

    @property
    def classes(self) -> set[str]:
        """Those that are told apart."""
        return self.confused.keys() | {name for row in self.confused.values() for name in row}

    def _add_classes(self, rows: Rows, sign: int) -> None:
        truths, predictions = rows.truths, rows.predictions
        for (truth, predicted), count in Counter(zip(truths, predictions, strict=True)).items():
            self.rows += sign * count
            self.right += sign * count * (truth == predicted)
            self._confuse(str(truth), str(predicted), sign * count)
        confidences = np.array([nan if one is None else one for one in rows.confidences])
        known = ~np.isnan(confidences)
        if known.any():
            right = np.fromiter(map(eq, truths, predictions), np.bool_, len(truths))
            self._judge(predictions, np.clip(confidences, 0.0, 1.0), right, known, sign)

    def _judge(
        self, predictions: Sequence[Truth], confidences: Floats, right: Flags, known: Flags, sign: int
    ) -> None:
        """Rows of which some confidences are `known`."""
        sure, hit = confidences[known], right[known]
        self.loss -= sign * float(np.log(np.maximum(_LEAST, np.where(hit, sure, 1.0 - sure))).sum())
        places = np.minimum(COARSE - 1, (sure * COARSE).astype(np.int64))
        counts = np.bincount(places, minlength=COARSE).tolist()
        totals = np.bincount(places, sure, COARSE).tolist()
        hits = np.bincount(places, hit, COARSE).tolist()
        self.calibration = [
            (before[0] + sign * count, before[1] + sign * total, before[2] + sign * int(rights))
            for before, count, total, rights in zip(
                self.calibration or _EMPTY, counts, totals, hits, strict=True
            )
        ]
        bins = fine(sure)
        codes = {name: code for code, name in enumerate(dict.fromkeys(predictions))}
        named = np.fromiter(map(codes.__getitem__, predictions), np.int64, len(predictions))[known]
        for name, code in codes.items():
            mine = named == code
            rights = np.bincount(bins[mine & hit], minlength=FINE)
            wrongs = np.bincount(bins[mine & ~hit], minlength=FINE)
            for place in np.flatnonzero(rights + wrongs).tolist():
                self._score(str(name), place, sign * int(rights[place]), sign * int(wrongs[place]))
            if self.scores is None:
                return

    def _score(self, predicted: str, place: int, right: int, wrong: int) -> None:
        if self.scores is None:
            return
        bins = self.scores.setdefault(predicted, {})
        if len(self.scores) > 2:
            self.scores = None
            return
        before = bins.get(place, (0, 0))
        bins[place] = before[0] + right, before[1] + wrong

    def _confuse(self, truth: str, predicted: str, count: int) -> None:
        known = self.classes
        names = []
        for name in (truth, predicted):
            crowded = name not in known and (len(known) >= MOST_CLASSES or len(name) > LONGEST_CLASS)
            names.append(OTHER if crowded else name)
            known.add(names[-1])
        row = self.confused.setdefault(names[0], {})
        row[names[1]] = row.get(names[1], 0) + count

    def _add_numbers(self, rows: Rows, sign: int) -> None:
        errors = np.array(rows.predictions, np.float64) - np.array(rows.truths, np.float64)
        self.numbers += sign * len(errors)
        self.absolute += sign * float(np.abs(errors).sum())
        self.squared += sign * float((errors * errors).sum())
        self.signed += sign * float(errors.sum())


_EMPTY: list[Bin] = [(0, 0.0, 0)] * COARSE


def fine(confidences: Floats) -> npt.NDArray[np.int64]:
    """The bin of each confidence; that of 1 − confidence lies opposite."""
    odds = np.log(np.maximum(_LEAST, confidences) / np.maximum(_LEAST, 1.0 - confidences))
    return np.clip(((odds / _FAR + 1.0) / 2.0 * FINE).astype(np.int64), 0, FINE - 1)


def together(tallies: Iterable[Tally]) -> Tally:
    """Their sum."""
    whole = Tally()
    for one in tallies:
        whole.merge(one)
    return whole


def figures(tally: Tally, names: Sequence[str] = ()) -> dict[str, Any]:
    """What is told of a tally; `names` are those of the classes by index, of two the second is the positive
    one. What cannot be told is null."""
    found: dict[str, Any] = {"labels": tally.rows + tally.numbers}
    if tally.rows > 0:
        found["accuracy"] = tally.right / tally.rows
        found |= _by_class(tally)
        found |= _by_confidence(tally)
        found |= _area(tally, names)
    if tally.numbers > 0:
        found["mae"] = tally.absolute / tally.numbers
        found["rmse"] = math.sqrt(max(0.0, tally.squared) / tally.numbers)
        found["bias"] = tally.signed / tally.numbers
    return found


def _by_class(tally: Tally) -> dict[str, Any]:
    support: Counter[str] = Counter()
    predicted: Counter[str] = Counter()
    for truth, row in tally.confused.items():
        for name, count in row.items():
            support[truth] += count
            predicted[name] += count
    classes: list[dict[str, Any]] = []
    for name in sorted(support | predicted, key=lambda one: (-support[one], one)):
        if not support[name] and not predicted[name]:
            continue
        hits = tally.confused.get(name, {}).get(name, 0) if name != OTHER else None
        classes.append(
            {
                "class": name, "labels": support[name], "predicted": predicted[name],
                "precision": _share(hits, predicted[name]), "recall": _share(hits, support[name]),
            }
        )  # fmt: skip
    confusion: list[dict[str, Any]] = [
        {"label": truth, "predicted": name, "rows": count}
        for truth, row in tally.confused.items()
        for name, count in row.items()
        if count
    ]
    confusion.sort(key=lambda one: -one["rows"])
    return {
        "precision": _mean(one["precision"] for one in classes),
        "recall": _mean(one["recall"] for one in classes if one["labels"]),
        "classes": classes[:MOST_CLASSES],
        "confusion": confusion[: 4 * MOST_CLASSES],
    }


def _by_confidence(tally: Tally) -> dict[str, Any]:
    known = sum(one[0] for one in tally.calibration)
    if known <= 0:
        return {"log_loss": None, "calibration_error": None, "calibration": []}
    table = [
        {
            "from": place / COARSE, "to": (place + 1) / COARSE, "rows": rows, "confidence": total / rows,
            "accuracy": right / rows,
        }
        for place, (rows, total, right) in enumerate(tally.calibration)
        if rows > 0
    ]  # fmt: skip
    error = sum(one["rows"] * abs(one["accuracy"] - one["confidence"]) for one in table) / known
    return {"log_loss": max(0.0, tally.loss) / known, "calibration_error": error, "calibration": table}


def _area(tally: Tally, names: Sequence[str]) -> dict[str, Any]:
    nothing = {"auc": None, "auc_error": None, "positive": None}
    classes = sorted(tally.classes)
    if not tally.scores or len(classes) != 2:
        return nothing
    positive = names[1] if len(names) == 2 and names[1] in classes else classes[1]
    ours, others = _curve(tally.scores, positive)
    count, rest = sum(ours.values()), sum(others.values())
    if count <= 0 or rest <= 0:
        return nothing
    area = tied = 0.0
    below = 0
    for place in range(FINE):
        area += ours[place] * (below + others[place] / 2)
        tied += ours[place] * others[place] / 2
        below += others[place]
    return {"auc": area / (count * rest), "auc_error": tied / (count * rest), "positive": positive}


def _curve(
    scores: Mapping[str, Mapping[int, tuple[int, int]]], positive: str
) -> tuple[Counter[int], Counter[int]]:
    """Rows by the bin of the positive class's probability: those that are of it, and those that are not."""
    ours: Counter[int] = Counter()
    others: Counter[int] = Counter()
    for predicted, bins in scores.items():
        for place, (right, wrong) in bins.items():
            if predicted == positive:
                ours[place] += right
                others[place] += wrong
            else:
                ours[FINE - 1 - place] += wrong
                others[FINE - 1 - place] += right
    return ours, others


def _share(part: int | None, whole: int) -> float | None:
    return None if part is None or whole <= 0 else part / whole


def _mean(values: Iterable[float | None]) -> float | None:
    known = [one for one in values if one is not None]
    return sum(known) / len(known) if known else None
