"""JSON pointers (RFC 6901): from a document to a value in it."""

from __future__ import annotations

import re

from comparators.prediction import Unreadable
from comparators.readers.scalars import noun
from comparators.wording import quoted

_INDEX = re.compile(r"0|[1-9][0-9]{0,17}")
_WRONG_ESCAPE = re.compile(r"~(?![01])")


def pointer_tokens(pointer: str) -> tuple[str, ...]:
    """The reference tokens of a JSON pointer, unescaped (RFC 6901, section 4). Raises ValueError."""
    if not pointer:
        return ()
    if not pointer.startswith("/") or _WRONG_ESCAPE.search(pointer):
        raise ValueError("write a JSON pointer (RFC 6901) such as /predictions/0, with ~0 for ~ and ~1 for /")
    return tuple(token.replace("~1", "/").replace("~0", "~") for token in pointer[1:].split("/"))


def follow(value: object, tokens: tuple[str, ...]) -> object:
    """What `tokens` lead to from `value`. Raises Unreadable when there is nothing."""
    for depth, token in enumerate(tokens):
        value = _step(value, token, tokens[:depth])
    return value


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
