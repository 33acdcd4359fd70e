"""Two predictions side by side. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from difflib import SequenceMatcher

LONGEST = 400
"""Lines of a prediction that are looked at: the matcher's time grows with their square."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of each prediction; empty where the other has more. `gap` marks equal lines left out."""

    incumbent: str
    candidate: str
    changed: bool = False
    gap: bool = False


def lines(incumbent: object, candidate: object, *, context: int = 3) -> tuple[Line, ...]:
    """The differing lines of two JSON values and `context` equal ones around them; all lines when equal.

    >>> lines({"label": 0}, {"label": 1})[1]
    Line(incumbent='  "label": 0', candidate='  "label": 1', changed=True, gap=False)
    """
    left, right = _written(incumbent), _written(candidate)
    if left == right:
        return tuple(Line(line, line) for line in left)
    found: list[Line] = []
    matcher = SequenceMatcher(None, left, right, autojunk=False)
    for group in matcher.get_grouped_opcodes(context):
        if found or group[0][1] or group[0][3]:
            found.append(Line("⋮", "⋮", gap=True))
        for _, left_from, left_to, right_from, right_to in group:
            found.extend(_beside(left[left_from:left_to], right[right_from:right_to]))
    return tuple(found)


def _beside(left: list[str], right: list[str]) -> list[Line]:
    changed = left != right
    height = max(len(left), len(right))
    left = left + [""] * (height - len(left))
    right = right + [""] * (height - len(right))
    return [Line(a, b, changed) for a, b in zip(left, right, strict=True)]


def _written(prediction: object) -> list[str]:
    if isinstance(prediction, str):
        written = prediction.split("\n")
    else:
        written = json.dumps(prediction, indent=2, ensure_ascii=False).split("\n")
    if len(written) > LONGEST:
        return [*written[:LONGEST], f"… {len(written) - LONGEST} more lines"]
    return written
