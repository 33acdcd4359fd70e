"""Judged pairs that wait for their labels: what was really true, which may become known much later.

A label names a request. Of the latest `MOST` pairs of an endpoint it is remembered what each arm predicted,
so that a label can be held against both; a label for another request is told to be unknown. A label counts
once, and which pairs are remembered depends on nothing but when they came. Of a large batch those rows are
held against their labels that were compared (`control.compared.thinned`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from control.compared import thinned
from domain.observation import Divergence
from killswitch.cohorts import MOST_COHORTS, LabelledPair
from killswitch.columns import JudgedPair
from monitoring.labels.truths import Unfit, class_of

MOST = 50_000
"""Pairs; some 20 MB."""

OTHER = "other"

Predicted = tuple[str | None, str | None]
"""The classes that incumbent and candidate named for one row."""


class Remembered(NamedTuple):
    """One pair; `rows` are empty once a label was joined to it."""

    unit: int
    at: float
    cohorts: tuple[str, ...]
    rows: tuple[Predicted, ...]


class Memory:
    """The latest pairs by request id. `names` are those of the classes, by index."""

    def __init__(self, names: Sequence[str] = (), most: int = MOST) -> None:
        self._names = tuple(names)
        self._most = most
        self._pairs: OrderedDict[str, Remembered] = OrderedDict()

    def __len__(self) -> int:
        return len(self._pairs)

    def put(self, judged: JudgedPair, cohorts: tuple[str, ...]) -> None:
        """Remember a pair whose predictions were compared."""
        found, pair = judged.divergence, judged.pair
        if found is None or pair.request_id in self._pairs:
            return
        self._pairs[pair.request_id] = Remembered(pair.unit, pair.at, cohorts, _predicted(found))
        while len(self._pairs) > self._most:
            self._pairs.popitem(last=False)

    def find(self, request_id: str) -> Remembered | None:
        """The pair of this request, None when it is not remembered."""
        return self._pairs.get(request_id)

    def join(self, request_id: str, label: object) -> LabelledPair | None:
        """Hold `label` against the pair; a batch is labelled with a list, a label a row. It counts once.

        None when the pair was labelled before. Raises KeyError for one that is not remembered, and Unfit for
        a label that says nothing about it.
        """
        one = self._pairs[request_id]
        if not one.rows:
            return None
        labels = thinned(label) if isinstance(label, list) else [label]
        if len(labels) != len(one.rows):
            found = len(label) if isinstance(label, list) else 1
            raise Unfit(f"{_many(found, 'label')} for a prediction of {_many(len(one.rows), 'row')}")
        rows = []
        for truth, (incumbent, candidate) in zip(labels, one.rows, strict=True):
            if incumbent is None or candidate is None:
                raise Unfit("the prediction names no class, so that no label can be held against it")
            right = self.named(truth)
            rows.append((incumbent == right, candidate == right))
        self._pairs[request_id] = one._replace(rows=())
        return LabelledPair(one.unit, one.cohorts, tuple(rows), one.at)

    def named(self, label: object) -> str:
        """See `class_of`. Raises Unfit."""
        return class_of(label, self._names)


class Accuracy:
    """In how many rows each arm was right, by cohort; "" is everybody. MOST_COHORTS at most besides."""

    def __init__(self) -> None:
        self.counts: dict[str, tuple[int, int, int]] = {}

    def take(self, labelled: Iterable[LabelledPair]) -> None:
        """Count labelled pairs: every one, and not only those that vote."""
        for one in labelled:
            rows = len(one.rows)
            right = sum(incumbent for incumbent, _ in one.rows), sum(candidate for _, candidate in one.rows)
            for cohort in dict.fromkeys(("", *map(self._known, one.cohorts))):
                count, incumbent, candidate = self.counts.get(cohort, (0, 0, 0))
                self.counts[cohort] = (
                    count + rows, incumbent + right[0], candidate + right[1]
                )  # fmt: skip

    def _known(self, cohort: str) -> str:
        if cohort in self.counts or len(self.counts) < MOST_COHORTS:
            return cohort
        return OTHER


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"


def _predicted(found: Divergence) -> tuple[Predicted, ...]:
    if not found.rows:
        return ((found.incumbent_label, found.candidate_label),)
    return tuple((row.incumbent_label, row.candidate_label) for row in found.rows)
