"""What a reader makes of an answer, and what every reader looks like."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from domain.errors import PointsmanError
from domain.media import JSON, Media

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

    Text has labels only, probabilities and measurements have numbers only, and what is discrete but numeric
    (integers, booleans) has both: a regression reads the numbers, a classification the labels. What is
    neither (objects, ragged arrays, null, several outputs) has a structure only, and only a reader that was
    made to read structures answers it; to another, it is Unreadable.

    Attributes:
        name: the output it was read from, for messages.
        numbers: rows · width floats, row-major; a value that is missing (null) is NaN.
        labels: rows · width texts, row-major.
        untyped: whole numbers from a protocol that has no datatypes: a JSON writer that drops ".0" may have
            meant probabilities 0 and 1.
        structure: the answer as JSON values (dict, list, str, int, float, bool, None), where a reader of
            structures read it or a chat answer calls tools: the row's own value when `rows` is 1, a list of
            one value a row when there are more. None when there is none, which is also how null is written.
        confidences: the probability of each row's own answer, where the server states one (log
            probabilities of a generated text): `rows` numbers in [0, 1].
        array: the numbers of a large binary tensor, in place of `numbers`: its own bytes as floats of its
            own width, shape (rows, width), read-only.
    """

    name: str
    rows: int
    width: int
    numbers: tuple[float, ...] | None = None
    labels: tuple[str, ...] | None = None
    untyped: bool = False
    structure: object = None
    confidences: tuple[float, ...] | None = None
    array: NDArray[np.floating] | None = None

    @property
    def has_numbers(self) -> bool:
        """Whether `real` and `values` answer."""
        return self.numbers is not None or self.array is not None

    @property
    def values(self) -> Values:
        """The numbers, shape (rows, width). Raises Unreadable when the prediction is text."""
        if self.array is not None:
            return self.array.astype(np.float64, copy=False)
        return np.array(self.real(), dtype=np.float64).reshape(self.rows, self.width)

    def reshaped(self, rows: int, width: int) -> Prediction:
        """The same values in other rows, row-major."""
        array = None if self.array is None else self.array.reshape(rows, width)
        return self._replace(rows=rows, width=width, array=array)

    def in_one_row(self) -> Prediction:
        """A column of several numbers as one row of them, which is what a vector or a series is."""
        return self.reshaped(1, self.rows) if self.width == 1 and self.rows > 1 else self

    def real(self) -> tuple[float, ...]:
        """The numbers, row-major. Raises Unreadable when the prediction is text."""
        if self.numbers is None:
            if self.array is not None:
                return tuple(self.array.ravel().tolist())
            what = "no number" if self.labels is None else "text"
            raise Unreadable(f"{self.name} is {what} where numbers are needed")
        return self.numbers


class Reader(Protocol):
    """One payload protocol, and one output of it; made with whether structures are wanted."""

    def read(self, body: bytes, media: Media = JSON) -> Prediction:
        """The prediction in `body`. Raises Unreadable, and nothing else, for any bytes."""
        ...
