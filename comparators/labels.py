"""How far two predictions of labels are apart: the share of rows that differ; any of them is a flip."""

from __future__ import annotations

from comparators.kind import EQUAL_BYTES
from comparators.prediction import Prediction
from comparators.wording import clipped, counted, plainly
from domain.observation import Divergence, RowFinding


class Labels:
    """Compares labels, which the endpoint's own names stand for where a label is the number of one."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names

    def compare(self, incumbent: Prediction, candidate: Prediction) -> Divergence:
        """The finding in two predictions that have labels."""
        trusted, tried = incumbent.labels or (), candidate.labels or ()
        known, other = self.shared(incumbent), self.shared(candidate)
        if len(trusted) != len(tried):
            reason = f"{counted(len(trusted), 'label')} → {counted(len(tried), 'label')}"
            return Divergence(1.0, True, reason, None, None, known, other)
        changed = [at for at, (a, b) in enumerate(zip(trusted, tried, strict=True)) if a != b]
        rows = () if len(trusted) == 1 else self._rows(incumbent, candidate)
        score = len(changed) / len(trusted)
        reason = self._reason(incumbent, candidate, changed)
        return Divergence(score, bool(changed), reason, None, None, known, other, rows)

    def label(self, prediction: Prediction, at: int) -> str:
        """The label at `at`: a configured name where it is the number of one."""
        numbers, labels = prediction.numbers, prediction.labels or ()
        if numbers is not None and 0 <= numbers[at] < len(self._names):
            return self._names[int(numbers[at])]
        return clipped(labels[at])

    def shared(self, prediction: Prediction) -> str | None:
        """The label of all rows; None when they have several."""
        labels = prediction.labels or ()
        one = len(labels) == 1 or len(set(labels)) == 1
        return self.label(prediction, 0) if one else None

    def _rows(self, incumbent: Prediction, candidate: Prediction) -> tuple[RowFinding, ...]:
        """A row of several labels scores the share of them that differ, and has no label of its own."""
        trusted, tried = incumbent.labels or (), candidate.labels or ()
        if incumbent.rows == 1:
            return ()
        width, rows = len(trusted) // incumbent.rows, []
        for start in range(0, len(trusted), width):
            places = range(start, start + width)
            wrong = sum(trusted[at] != tried[at] for at in places)
            known = self.label(incumbent, start) if width == 1 else None
            other = self.label(candidate, start) if width == 1 else None
            rows.append(RowFinding(wrong / width, wrong > 0, None, None, known, other))
        return tuple(rows)

    def _reason(self, incumbent: Prediction, candidate: Prediction, changed: list[int]) -> str:
        if candidate is incumbent:
            return EQUAL_BYTES
        count = len(incumbent.labels or ())
        if not changed:
            return "same label" if count == 1 else f"same labels in {count} rows"
        first = changed[0]
        change = f"{plainly(self.label(incumbent, first))} → {plainly(self.label(candidate, first))}"
        if count == 1:
            return f"label {change}"
        return f"{len(changed)} of {count} labels differ, first {change}"
