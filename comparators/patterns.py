"""Patterns of JSON paths: a JSON pointer in which `*` stands for any index or key.

`/items/*/price` matches the price of every item. A pattern is matched step by step on the way down a
document: `start` is the state at its top, `step` the state below a key or an index.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

from comparators.readers.pointer import pointer_tokens

Value = TypeVar("Value")

ANY = "*"


class Node(Generic[Value]):
    """What the patterns with one beginning go on with; `value` when one of them ends here."""

    __slots__ = ("children", "value")

    def __init__(self) -> None:
        self.children: dict[str, Node[Value]] = {}
        self.value: Value | None = None


State = tuple[Node[Value], ...]
"""The patterns that may still match below some place of a document; empty when none can."""


class Patterns(Generic[Value]):
    """Which of some patterns match a path, and the value that each stands for."""

    def __init__(self, patterns: Iterable[tuple[str, Value]]) -> None:
        """Raises ValueError for what is no JSON pointer. The value of a repeated pattern is the last one."""
        root: Node[Value] = Node()
        self.start: State[Value] = ()
        for pattern, value in patterns:
            node = root
            for token in pointer_tokens(pattern):
                node = node.children.setdefault(token, Node())
            node.value = value
            self.start = (root,)


def step(state: State[Value], token: str) -> State[Value]:
    """The state below `token`; the pattern that names it comes before the one that says `*`."""
    if not state:
        return state
    return tuple(node.children[name] for node in state for name in (token, ANY) if name in node.children)


def ending(state: State[Value]) -> Value | None:
    """The value of the first pattern that ends here; None when none does."""
    for node in state:
        if node.value is not None:
            return node.value
    return None


def escaped(token: str) -> str:
    """`token` as it stands in a JSON pointer (RFC 6901, section 3)."""
    return token.replace("~", "~0").replace("/", "~1")
