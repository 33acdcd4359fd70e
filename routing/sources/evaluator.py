"""The port to flag platforms that have to be asked unit by unit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from domain.exposure import Question


class Evaluation(NamedTuple):
    """What came of one question.

    `exposed` is None where the platform gave no answer: it is away, not ready, or stale for too long. Then
    an answer that is held goes on for the rest of its age, and a unit without one is not exposed. A flag that
    the platform does not have, or that is of another type, is an answer: not exposed. `problem` says why,
    for a person.
    """

    exposed: bool | None
    problem: str = ""


class Evaluator(Protocol):
    """One flag platform. Every method is called on one event loop that belongs to evaluators alone."""

    async def start(self) -> None:
        """Make it ready to answer. Raises StateUnavailable with the reason; may then be started again."""
        ...

    async def evaluate(self, questions: Sequence[Question]) -> list[Evaluation]:
        """An evaluation for each question, in order. Raises nothing."""
        ...

    async def close(self) -> None:
        """Let it go. Harmless when it never was started."""
        ...
