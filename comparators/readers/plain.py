"""Plain JSON: a JSON pointer (RFC 6901) leads to the prediction.

There is no shape to ask, so the form of the value decides: a number is one row of one value, a list of
numbers one row, a list of lists one row each. Whole numbers, booleans and text are discrete: each is one
label. So is a list of nothing but whole numbers; one float among them makes them all numbers.
"""

from __future__ import annotations

from comparators.prediction import Prediction, Unreadable
from comparators.readers.body import inflated
from comparators.readers.document import decode
from comparators.readers.pointer import follow, pointer_tokens
from comparators.readers.scalars import flattened, of_scalars
from comparators.wording import quoted
from domain.media import JSON, Media


class PlainReader:
    """Reads what `pointer` leads to; None and "" take the whole document."""

    def __init__(self, pointer: str | None = None, structured: bool = False) -> None:
        """Raises ValueError when `pointer` is no JSON pointer."""
        self._tokens = pointer_tokens(pointer or "")
        self._where = f"the value at {quoted(pointer)}" if pointer else "the answer"
        self._structured = structured

    def read(self, body: bytes, media: Media = JSON) -> Prediction:
        """The prediction in `body`. Raises Unreadable, and nothing else, for any bytes."""
        if media.content_encoding:
            body = inflated(body, media)
        return read_plainly(follow(decode(body), self._tokens), self._where, self._structured)


def read_plainly(value: object, where: str, structured: bool) -> Prediction:
    """The prediction that `value` is, by its form. Raises Unreadable."""
    if not structured:
        return _tabular(value, where)
    try:
        found = _tabular(value, where)
    except Unreadable:
        return Prediction(where, 1, 1, structure=value)
    if found.rows == 1 and isinstance(value, list) and type(value[0]) is list:
        value = value[0]
    return found._replace(structure=value)


def _tabular(value: object, where: str) -> Prediction:
    if not isinstance(value, list):
        return of_scalars(where, 1, 1, [value])
    if not value:
        raise Unreadable(f"{where} is an empty array")
    if type(value[0]) is not list:
        return of_scalars(where, 1, len(value), value)
    if value[0] and type(value[0][0]) is list:
        raise Unreadable(f"{where} is nested deeper than rows of values")
    data = flattened(value, where)
    if not data:
        raise Unreadable(f"{where} has empty rows")
    return of_scalars(where, len(value), len(value[0]), data)
