"""Plain JSON: a JSON pointer (RFC 6901) leads to the prediction.

There is no shape to ask, so the form of the value decides: a number is one row of one value, a list of
numbers one row, a list of lists one row each. Whole numbers, booleans and text are discrete: each is one
label. So is a list of nothing but whole numbers; one float among them makes them all numbers.
"""

from __future__ import annotations

import re

from comparators.prediction import Prediction, Unreadable
from comparators.readers.document import decode
from comparators.readers.scalars import flattened, noun, of_booleans, of_integers, of_reals, of_texts
from comparators.wording import quoted

_INDEX = re.compile(r"0|[1-9][0-9]{0,17}")
_WRONG_ESCAPE = re.compile(r"~(?![01])")


class PlainReader:
    """Reads what `pointer` leads to; None and "" take the whole document."""

    def __init__(self, pointer: str | None = None) -> None:
        """Raises ValueError when `pointer` is no JSON pointer."""
        self._tokens = pointer_tokens(pointer or "")
        self._where = f"the value at {quoted(pointer)}" if pointer else "the answer"

    def read(self, body: bytes) -> Prediction:
        """The prediction in `body`. Raises Unreadable, and nothing else, for any bytes."""
        value = decode(body)
        for depth, token in enumerate(self._tokens):
            value = _step(value, token, self._tokens[:depth])
        if not isinstance(value, list):
            return _prediction(self._where, 1, 1, [value])
        if not value:
            raise Unreadable(f"{self._where} is an empty array")
        if type(value[0]) is not list:
            return _prediction(self._where, 1, len(value), value)
        if value[0] and type(value[0][0]) is list:
            raise Unreadable(f"{self._where} is nested deeper than rows of values")
        data = flattened(value, self._where)
        if not data:
            raise Unreadable(f"{self._where} has empty rows")
        return _prediction(self._where, len(value), len(value[0]), data)


def pointer_tokens(pointer: str) -> tuple[str, ...]:
    """The reference tokens of a JSON pointer, unescaped (RFC 6901, section 4). Raises ValueError."""
    if not pointer:
        return ()
    if not pointer.startswith("/") or _WRONG_ESCAPE.search(pointer):
        raise ValueError("write a JSON pointer (RFC 6901) such as /predictions/0, with ~0 for ~ and ~1 for /")
    return tuple(token.replace("~1", "/").replace("~0", "~") for token in pointer[1:].split("/"))


def _step(value: object, token: str, above: tuple[str, ...]) -> object:
    if isinstance(value, dict):
        if token in value:
            return value[token]
        missing = f"no key {quoted(token)}"
    elif isinstance(value, list):
        if _INDEX.fullmatch(token) and int(token) < len(value):
            return value[int(token)]
        missing = f"no element {quoted(token)} in an array of {len(value)}"
    else:
        missing = f"{noun(value)}, so no {quoted(token)},"
    place = quoted("/" + "/".join(above)) if above else "the top of the answer"
    raise Unreadable(f"there is {missing} at {place}")


def _prediction(where: str, rows: int, width: int, data: list[object]) -> Prediction:
    types = set(map(type, data))
    if types == {int}:
        return of_integers(where, rows, width, data)._replace(untyped=True)
    if types == {str}:
        return of_texts(where, rows, width, data)
    if types == {bool}:
        return of_booleans(where, rows, width, data)
    if types <= {dict, type(None)}:
        raise Unreadable(f"{where} is {noun(data[0])}, not a prediction")
    return of_reals(where, rows, width, data)
