"""How far two rankings are apart.

The score is 1 − RBO_ext (`comparators.overlap`). The pair is a flip when the score is beyond the tolerance,
or when more than that share of the first `top` items are others. Kendall's τ over the items that both lists
have is told besides: it says whether the same things were merely reordered.

A row is a ranking: texts or whole numbers in order, objects with a key that identifies them, or a score for
each item of a fixed catalogue, which ranks the columns by falling score (the first of equal ones first).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from comparators.kind import Finding, PredictionPair, RowDistance, compare_rows
from comparators.overlap import kendall_tau, rank_biased_overlap, top_overlap
from comparators.prediction import Prediction, Unreadable
from comparators.readers.scalars import noun
from comparators.wording import clipped, counted, plainly, quoted, shortened
from settings.schema import CompareSettings

TOLERANCE = 0.3

LONGEST = 10_000
"""Items of a ranking that are compared; p^10000 is 0 for every p that makes sense."""

_ITEMS_SHOWN = 50
_ROWS_SHOWN = 20

_Ranking = list[str]


class Ranking:
    """Compares predictions as rankings."""

    def __init__(self, settings: CompareSettings) -> None:
        self._p = settings.p
        self._top = settings.top
        self._item = settings.item
        self._tolerance = TOLERANCE if settings.tolerance is None else settings.tolerance

    def compare_many(self, pairs: Sequence[PredictionPair]) -> list[Finding]:
        """A fault for the arm whose answer holds no ranking, or a score that is no number."""
        return [compare_rows(pair, "ranking", self._rankings, self._distance) for pair in pairs]

    def describe(self, prediction: Prediction) -> object:
        """The items in order, or a list of such lists. Raises Unreadable."""
        rankings = [
            shortened(
                [clipped(item) for item in ranking[:_ITEMS_SHOWN]] + ranking[_ITEMS_SHOWN:], _ITEMS_SHOWN
            )
            for ranking in self._rankings(prediction)
        ]
        return rankings[0] if len(rankings) == 1 else shortened(rankings, _ROWS_SHOWN)

    def _distance(self, trusted: _Ranking, tried: _Ranking) -> RowDistance:
        if trusted == tried:
            return RowDistance(0.0, False, "same ranking")
        score = 1.0 - rank_biased_overlap(trusted, tried, self._p)
        common = top_overlap(trusted, tried, self._top)
        flip = score > self._tolerance or 1.0 - common > self._tolerance
        top = min(self._top, max(len(trusted), len(tried)))
        told = f"{round(common * top)} of the first {top} in common"
        tau = kendall_tau(trusted, tried)
        order = "" if tau is None else f", Kendall τ {tau:.2f}"
        return RowDistance(score, flip, f"{_change(trusted, tried)}, {told}, 1 − RBO {score:.2g}{order}")

    def _rankings(self, prediction: Prediction) -> list[_Ranking]:
        labels, width = prediction.labels, prediction.width
        column = width == 1 and prediction.rows > 1 and not _is_nested(prediction.structure)
        if labels is not None:
            size = len(labels) if column else width
            rows = [labels[at : at + size] for at in range(0, len(labels), size)]
        elif prediction.has_numbers:
            numbers = prediction.real()
            if any(map(math.isnan, numbers)):
                raise Unreadable(f"{prediction.name} holds a score that is no number")
            size = len(numbers) if column else width
            rows = [_by_score(numbers[at : at + size]) for at in range(0, len(numbers), size)]
        else:
            rows = self._of_structure(prediction)
        return [_distinct(row, prediction) for row in rows]

    def _of_structure(self, prediction: Prediction) -> list[tuple[str, ...]]:
        value = prediction.structure
        if not isinstance(value, list):
            raise Unreadable(f"{prediction.name} is {noun(value)}, not a ranking")
        if _is_nested(value):
            return [tuple(self._identified(item, prediction) for item in row) for row in value]
        return [tuple(self._identified(item, prediction) for item in value)]

    def _identified(self, item: object, prediction: Prediction) -> str:
        if isinstance(item, dict):
            if self._item is None:
                raise Unreadable(f"{prediction.name} ranks objects; name the key that identifies one: item")
            if self._item not in item:
                raise Unreadable(f"{prediction.name} ranks an object that has no key {quoted(self._item)}")
            item = item[self._item]
        if type(item) is str:
            return item
        if type(item) in (int, float, bool):
            return str(item)
        raise Unreadable(f"{prediction.name} ranks {noun(item)}, which is no item")


def _is_nested(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, list) for row in value)


def _by_score(scores: Sequence[float]) -> tuple[str, ...]:
    return tuple(map(str, sorted(range(len(scores)), key=lambda at: -scores[at])))


def _distinct(items: Sequence[str], prediction: Prediction) -> _Ranking:
    if len(items) > LONGEST:
        raise Unreadable(f"{prediction.name} ranks {len(items)} items; up to {LONGEST} are compared")
    return list(dict.fromkeys(items))


def _change(trusted: _Ranking, tried: _Ranking) -> str:
    """Where the lists part, and how."""
    for rank, (a, b) in enumerate(zip(trusted, tried, strict=False), start=1):
        if a != b:
            return f"rank {rank}: {plainly(clipped(a))} → {plainly(clipped(b))}"
    return f"{counted(len(trusted), 'item')} → {counted(len(tried), 'item')}"
