"""Values of model answers as words for an operator: short, printable, whatever a model wrote into them."""

from __future__ import annotations

import math
from collections.abc import Sequence

LONGEST_LABEL = 120
"""Characters of a label that are kept; the rest becomes an ellipsis."""

_LONGEST_QUOTE = 60


def quoted(value: object) -> str:
    """A scalar as Python writes it: ASCII, control characters escaped, cut to a length that fits a line."""
    if isinstance(value, str) and len(value) > _LONGEST_QUOTE:
        return f"{value[:_LONGEST_QUOTE]!a}..."
    if isinstance(value, list | dict):
        return "[...]" if isinstance(value, list) else "{...}"
    return ascii(value)


def clipped(text: str, longest: int = LONGEST_LABEL) -> str:
    """`text`, at most `longest` characters long."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def plainly(label: str) -> str:
    """A label as it stands in a sentence: bare when it is printable and short, else quoted."""
    if label and label.isprintable() and len(label) <= _LONGEST_QUOTE:
        return label
    return quoted(label)


def number(value: float) -> str:
    """A number to four digits, as JSON's cousins write the ones that JSON has no word for."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return f"{value:.4g}"


def presentable(value: float) -> float | str:
    """A number for a JSON document: NaN and the infinities become text."""
    return float(value) if math.isfinite(value) else number(value)


def counted(count: int, noun: str) -> str:
    """`1 row`, `2 rows`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def shortened(items: Sequence[object], most: int) -> list[object]:
    """The first `most` items, and a text that says how many more there are."""
    shown = list(items[:most])
    if len(items) > most:
        shown.append(f"… {len(items) - most} more")
    return shown
