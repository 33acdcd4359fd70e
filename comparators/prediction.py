"""What a reader makes of an answer, and what every reader looks like."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from domain.errors import PointsmanError

Values = NDArray[np.float64]

SMALL = 32
"""Numbers up to which plain Python is faster than NumPy, whose fixed cost is 20 to 40 µs a comparison."""


class Unreadable(PointsmanError):  # noqa: N818 - a finding about an answer, not a mistake of ours
    """An answer holds no prediction that can be read. `reason` is short and names what is wrong where."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Prediction(NamedTuple):
    """One answer's prediction: `rows` rows of `width` values each.

    A named tuple, because two are made for every pair and a frozen dataclass takes four times as long.

    At least one of `numbers` and `labels` is there. Text has labels only, probabilities and measurements
    have numbers only, and what is discrete but numeric (integers, booleans) has both: a regression reads
    the numbers, a classification the labels.

    Attributes:
        name: the output it was read from, for messages.
        numbers: rows · width floats, row-major; a value that is missing (null) is NaN.
        labels: rows · width texts, row-major.
        untyped: whole numbers from a protocol that has no datatypes: a JSON writer that drops ".0" may have
            meant probabilities 0 and 1.
    """

    name: str
    rows: int
    width: int
    numbers: tuple[float, ...] | None = None
    labels: tuple[str, ...] | None = None
    untyped: bool = False

    @property
    def values(self) -> Values:
        """The numbers, shape (rows, width). Raises Unreadable when the prediction is text."""
        return np.array(self.real(), dtype=np.float64).reshape(self.rows, self.width)

    def real(self) -> tuple[float, ...]:
        """The numbers, row-major. Raises Unreadable when the prediction is text."""
        if self.numbers is None:
            raise Unreadable(f"{self.name} is text where numbers are needed")
        return self.numbers


class Reader(Protocol):
    """One payload protocol."""

    def read(self, body: bytes) -> Prediction:
        """The prediction in `body`. Raises Unreadable, and nothing else, for any bytes."""
        ...
