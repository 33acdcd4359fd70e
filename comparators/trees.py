"""How far two JSON documents are apart, path by path.

Both are walked at once, objects by key and arrays by index. A leaf is a scalar or an empty container; the
score is the share of leaves that differ, of all leaves that either document has, and any that differs makes
a flip. What only one of them has differs with all its leaves; so does a value whose kind has changed.

Numbers are equal when they are no further apart than the tolerance of their path; fractions, besides, when
the fifteenth digit or a later one is all that differs (1e-12 of their size), because that is how JSON
writers differ. 1 and 1.0 are equal, true and 1 are not, a missing key is not null.

The paths that differ are told as patterns, with `*` for an index (`/items/*/price`), so that they can be
counted over many documents (`comparators.path_noise`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import zip_longest
from typing import NamedTuple, cast

from comparators.kind import RowDistance
from comparators.patterns import ANY, Patterns, State, ending, escaped, step
from comparators.readers.scalars import noun
from comparators.wording import clipped, number, plainly, quoted

ROUNDING = 1e-12
"""Of a fraction's size: how far apart two writers may put the same number."""

MOST_PATHS = 64
"""Different patterns of paths told of one document; the first ones in order of the document."""

_CONTAINERS = frozenset((dict, list))
_TOLD = 60


class _Absent:
    """A value that a document does not have, which is not null."""


_ABSENT = _Absent()


_Child = tuple[str | int, object, object]
"""A key or an index, and what the incumbent and the candidate have there."""


class _Place(NamedTuple):
    """Somewhere in two documents: its path, its pattern, the states of both kinds of patterns, the values."""

    path: str
    pattern: str
    ignored: State[bool]
    tolerated: State[float]
    incumbent: object
    candidate: object


class TreeDistance:
    """The distance of two JSON documents."""

    def __init__(
        self, ignore: Sequence[str], tolerances: Sequence[tuple[str, float]], tolerance: float
    ) -> None:
        """`tolerance` is how far apart equal numbers may be where no pattern of `tolerances` matches.

        Raises ValueError for a pattern that is no JSON pointer.
        """
        self._ignore = Patterns((pattern, True) for pattern in ignore)
        self._tolerances = Patterns(tolerances)
        self._tolerance = tolerance

    def between(self, incumbent: object, candidate: object) -> RowDistance:
        """The distance, the first change in words, and the patterns of the paths that differ."""
        leaves = differing = 0
        first = ""
        paths: dict[str, None] = {}
        stack = [_Place("", "", self._ignore.start, self._tolerances.start, incumbent, candidate)]
        while stack:
            place = stack.pop()
            if ending(place.ignored):
                continue
            kind = type(place.incumbent)
            if kind is type(place.candidate) and kind in _CONTAINERS and (place.incumbent or place.candidate):
                inside = _inside(place)
                if not place.ignored:
                    count = len(inside)
                    inside = [child for child in inside if not _plainly_equal(child[1], child[2])]
                    leaves += count - len(inside)
                stack += [_below(place, *child) for child in reversed(inside)]
                continue
            if self._equal(place):
                leaves += 1
                continue
            count = max(_leaves(place.incumbent), _leaves(place.candidate))
            leaves += count
            differing += count
            first = first or _told(place)
            if len(paths) < MOST_PATHS:
                paths[place.pattern] = None
        if not leaves:
            return RowDistance(0.0, False, "all of it is ignored")
        if not differing:
            return RowDistance(0.0, False, f"same {_values(leaves)}")
        reason = (
            f"{differing} of {_values(leaves)} {'differs' if differing == 1 else 'differ'}, first {first}"
        )
        return RowDistance(differing / leaves, True, reason, tuple(sorted(paths)))

    def _equal(self, place: _Place) -> bool:
        a, b = place.incumbent, place.candidate
        if type(a) is type(b) and (a == b or type(a) in (str, bool)):
            return bool(a == b)
        if type(a) not in (int, float) or type(b) not in (int, float):
            return False
        tolerance = ending(place.tolerated)
        if tolerance is None:
            tolerance = self._tolerance
        return numbers_equal(cast("float", a), cast("float", b), tolerance)


def _inside(place: _Place) -> list[_Child]:
    """What lies right below two containers of one kind."""
    if type(place.incumbent) is dict:
        trusted, tried = place.incumbent, cast("dict[str, object]", place.candidate)
        keys = [*trusted, *(key for key in tried if key not in trusted)]
        return [(key, trusted.get(key, _ABSENT), tried.get(key, _ABSENT)) for key in keys]
    before, after = cast("list[object]", place.incumbent), cast("list[object]", place.candidate)
    return [(at, a, b) for at, (a, b) in enumerate(zip_longest(before, after, fillvalue=_ABSENT))]


def _plainly_equal(incumbent: object, candidate: object) -> bool:
    """Whether two values are one and the same scalar, as most are: no place need be made for them."""
    kind = type(incumbent)
    return kind is type(candidate) and kind not in _CONTAINERS and incumbent == candidate


def _below(place: _Place, token: str | int, incumbent: object, candidate: object) -> _Place:
    if type(token) is int:
        told, exact = ANY, str(token)
        key = exact
    else:
        key = cast("str", token)
        told = exact = escaped(key)
    return _Place(
        f"{place.path}/{exact}",
        f"{place.pattern}/{told}",
        step(place.ignored, key),
        step(place.tolerated, key),
        incumbent,
        candidate,
    )


def numbers_equal(a: float, b: float, tolerance: float) -> bool:
    """Whether two numbers are equal but for `tolerance` and the writer's rounding; NaN equals NaN."""
    if a == b:
        return True
    if math.isnan(a) or math.isnan(b):
        return math.isnan(a) and math.isnan(b)
    if math.isinf(a) or math.isinf(b):
        return False
    difference = abs(a - b)
    if difference <= tolerance:
        return True
    return not (type(a) is type(b) is int) and difference <= ROUNDING * max(abs(a), abs(b))


def _leaves(value: object) -> int:
    """How many leaves a value has; what is absent has none, so that the other side counts."""
    leaves, stack = 0, [value]
    while stack:
        one = stack.pop()
        if one is _ABSENT:
            continue
        if type(one) is dict and one:
            stack += one.values()
        elif type(one) is list and one:
            stack += one
        else:
            leaves += 1
    return leaves


def _told(place: _Place) -> str:
    path = plainly(clipped(place.path, _TOLD)) if place.path else "the top"
    if place.incumbent is _ABSENT:
        return f"{path} is new"
    if place.candidate is _ABSENT:
        return f"{path} is missing"
    return f"{path} {_scalar(place.incumbent)} → {_scalar(place.candidate)}"


def _scalar(value: object) -> str:
    if value is None or type(value) in (bool, dict, list):
        return noun(value) if value is None or type(value) in _CONTAINERS else str(value).lower()
    if type(value) is float:
        return number(value) if not math.isfinite(value) else clipped(repr(value))
    return clipped(quoted(value))


def _values(count: int) -> str:
    return "1 value" if count == 1 else f"{count} values"
