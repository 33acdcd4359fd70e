"""Which classes the candidate predicts more often than the incumbent, as far as it was seen.

The total variation between two distributions over classes is the largest of P(A) − Q(A) over all sets A of
classes. Whatever set is fixed beforehand, P(A) − Q(A) is at most that. So a guard may watch any set, and the
one that learns fastest what is wrong holds the classes that were over-predicted so far.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

MOST_CLASSES = 1000
"""So many classes are counted by themselves, all others together."""

OTHER = "…"
_LONGEST = 200


class ClassShares:
    """How often each arm predicted each class. Counts add, so it does not matter who saw what."""

    def __init__(self) -> None:
        self.candidate: Counter[str] = Counter()
        self.incumbent: Counter[str] = Counter()
        self._known: set[str] = set()
        self._over: frozenset[str] = frozenset()

    def over(self, labels: Sequence[str]) -> list[bool]:
        """For each of `labels` whether the candidate has predicted that class more often."""
        over = self._over
        if OTHER not in over:
            return [label in over for label in labels]
        return [label in over or label not in self._known for label in labels]

    def learn(self, candidate: Mapping[str, int], incumbent: Mapping[str, int]) -> None:
        """Take predictions into account. New classes are admitted in their alphabetical order."""
        for label in sorted({*candidate, *incumbent} - self._known):
            if len(self._known) >= MOST_CLASSES or len(label) > _LONGEST or label == OTHER:
                continue
            self._known.add(label)
        self._count(self.candidate, candidate)
        self._count(self.incumbent, incumbent)
        if candidate or incumbent:
            mine, theirs = self.candidate, self.incumbent
            self._over = frozenset(label for label, count in mine.items() if count > theirs[label])

    def keep(self) -> tuple[dict[str, int], dict[str, int]]:
        """Everything `restore` needs to go on."""
        return dict(self.candidate), dict(self.incumbent)

    def restore(self, kept: tuple[Mapping[str, int], Mapping[str, int]]) -> None:
        """Go on from `kept`."""
        candidate, incumbent = kept
        self.candidate, self.incumbent = Counter(), Counter()
        self._known = {label for label in {*candidate, *incumbent} if label != OTHER}
        self.learn(candidate, incumbent)

    def _count(self, counts: Counter[str], seen: Mapping[str, int]) -> None:
        for label, count in seen.items():
            counts[label if label in self._known else OTHER] += count


def tallied(labels: Iterable[str]) -> dict[str, int]:
    """How often each label occurs."""
    return dict(Counter(labels))
