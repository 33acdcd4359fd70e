"""Answers that differ from an earlier one only in their numbers and their id are read without reading it all.

The problem. A model server writes the same JSON around its numbers every time. Reading it anew, checking
every key, shape and type of it, is most of what judging a small pair costs.

The idea. Of an answer that was read in full, a *frame* is kept: the bytes around its id and its array of
numbers. An answer that fits the frame, with a plain string and an array of JSON numbers in these two holes,
is the one that was read before with another id and other numbers, so only the array has to be read. Whatever
does not fit is read in full.

What makes that exact. JSON is parsed from left to right, so after the bytes before a hole a parser is where
it was in the answer that was read: inside the string of the id, or in the array of numbers. That these are
the holes is proved, not guessed: two answers made from the frame, with ids and numbers of our own, are read
in full, and have to be the first one but for these. Nothing in a hole can end it: it has no quote or bracket.

Frames are learned from the first, second, fourth, eighth … answer that does not fit any, so that where
answers have nothing in common learning costs nothing in the long run. They are a cache: they change no
finding.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

import orjson

from comparators.prediction import Prediction, Unreadable
from comparators.readers.document import decode

LONGEST = 4096
"""Bytes of an answer that is read by a frame."""

MOST_FRAMES = 4
"""Of one reader: the arms, and the shapes of batches, differ."""

Tensor = dict[str, object]
Fill = Callable[[list[object]], Prediction]
"""What becomes of as many numbers as there were. Raises Unreadable."""

_ARRAY = re.compile(rb'"data"\s*:\s*(\[[^\[\]{}":]*\])')
_ID = re.compile(rb'"id"\s*:\s*"([^"\\\x00-\x1f\x7f-\xff]*)"')
_TEXT = rb'[^"\\\x00-\x1f\x7f-\xff]*'
_NUMBERS = rb"(\[[-+.,0-9eE \t\r\n]*\])"
_PROBES = ((0.125, "a"), (0.25, "bc"))


class Frame(NamedTuple):
    """What stands around so many `numbers`."""

    pattern: re.Pattern[bytes]
    numbers: int
    fill: Fill


class Frames:
    """The frames of one reader. `tensor` finds in a document the tensor whose `data` the numbers are; `fill`
    says how many a tensor holds and what becomes of them, None when it holds no plain numbers.
    """

    def __init__(
        self, tensor: Callable[[object], Tensor], fill: Callable[[Tensor], tuple[int, Fill] | None]
    ) -> None:
        self._tensor = tensor
        self._fill = fill
        self._frames: tuple[Frame, ...] = ()
        self._missed = 0

    def read(self, body: bytes) -> Prediction | None:
        """The prediction in `body`, None when it fits no frame. Raises Unreadable as reading it all would."""
        if len(body) > LONGEST:
            return None
        for pattern, count, fill in self._frames:
            found = pattern.fullmatch(body)
            if found is not None:
                try:
                    numbers = orjson.loads(found[1])
                except orjson.JSONDecodeError:
                    return None
                return fill(numbers) if len(numbers) == count else None
        return None

    def missed(self, body: bytes) -> None:
        """Learn from `body`, which fits no frame and was read in full without a fault, when it is time to."""
        self._missed += 1
        if self._missed & (self._missed - 1) or len(body) > LONGEST:
            return
        frame = self._learned(body)
        if frame is not None:
            self._frames = (frame, *self._frames)[:MOST_FRAMES]

    def _learned(self, body: bytes) -> Frame | None:
        arrays, ids = list(_ARRAY.finditer(body)), list(_ID.finditer(body))
        document = decode(body)
        tensor = self._tensor(document)
        filling = self._fill(tensor)
        if filling is None or len(arrays) != 1 or len(ids) > 1 or not isinstance(document, dict):
            return None
        count, fill = filling
        holes = sorted([(*arrays[0].span(1), _NUMBERS), *((*one.span(1), _TEXT) for one in ids)])
        for number, text in _PROBES:
            tensor["data"] = [number] * count
            if ids:
                document["id"] = text
            fillings = {_NUMBERS: orjson.dumps(tensor["data"]), _TEXT: text.encode()}
            if not _says(_joined(body, holes, lambda between: between, fillings), document):
                return None
        whole = _joined(body, holes, re.escape, {_NUMBERS: _NUMBERS, _TEXT: _TEXT})
        return Frame(re.compile(whole), count, fill)


def _joined(
    body: bytes,
    holes: list[tuple[int, int, bytes]],
    written: Callable[[bytes], bytes],
    fillings: dict[bytes, bytes],
) -> bytes:
    """`body` as `written`, with other things in its holes."""
    parts: list[bytes] = []
    at = 0
    for start, end, kind in holes:
        parts += [written(body[at:start]), fillings[kind]]
        at = end
    return b"".join([*parts, written(body[at:])])


def _says(body: bytes, document: object) -> bool:
    try:
        return decode(body) == document
    except Unreadable:
        return False
