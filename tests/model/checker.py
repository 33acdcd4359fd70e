"""Searches every state that a protocol can reach, the nearest first, for one that breaks a law.

A test tries some histories; this tries all of them within bounds. Breadth first, so the history it shows for
a broken law is a shortest one. States are hashable values; a model may map states that differ in names only
to one of them before it hands them over (symmetry): nothing is lost as long as its laws ignore the names.

Source: Clarke, Grumberg, Peled: Model Checking (1999), chapters 6 and 14; the way of TLC and Spin.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import TypeVar

State = TypeVar("State", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Violation:
    """The broken law, and a shortest list of steps that breaks it."""

    law: str
    history: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Searched:
    """What was seen: distinct states, steps between them, and how many steps the farthest one takes."""

    states: int
    steps: int
    depth: int
    violation: Violation | None


class TooManyStates(Exception):  # noqa: N818 - a bound, not a mistake
    """The bound was reached: a search that stopped there has shown nothing."""


def search(
    first: State,
    steps: Callable[[State], Iterable[tuple[str, State]]],
    broken: Callable[[State], str | None],
    most: int = 5_000_000,
) -> Searched:
    """All states reachable from `first`; ends at the first whose `broken` names a law.

    Raises TooManyStates beyond `most`.
    """
    before: dict[State, State | None] = {first: None}
    taken = depth = 0
    level = deque([first])
    while level:
        following: deque[State] = deque()
        for state in level:
            law = broken(state)
            if law is not None:
                return Searched(len(before), taken, depth, Violation(law, _history(before, state, steps)))
            for _, reached in steps(state):
                taken += 1
                if reached not in before:
                    before[reached] = state
                    following.append(reached)
        if len(before) > most:
            raise TooManyStates(f"more than {most} states: choose smaller bounds")
        if following:
            depth += 1
        level = following
    return Searched(len(before), taken, depth, None)


def _history(
    before: dict[State, State | None],
    state: State,
    steps: Callable[[State], Iterable[tuple[str, State]]],
) -> tuple[str, ...]:
    names: list[str] = []
    earlier = before[state]
    while earlier is not None:
        names.append(next(name for name, reached in steps(earlier) if reached == state))
        state, earlier = earlier, before[earlier]
    return tuple(reversed(names))
