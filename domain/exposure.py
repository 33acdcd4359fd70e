"""What a worker asks where it cannot decide by itself: may this unit see the candidate?

A flag platform whose rules cannot be had is asked unit by unit, in the control process: `routing.answers`.
"""

from __future__ import annotations

from typing import NamedTuple


class Question(NamedTuple):
    """One unit of one flag.

    `fields` are what the endpoint's `context` took from the request's headers, as (name, value), by name: a
    flag may answer differently by them. The same question has the same answer for every request.
    """

    flag: str
    unit: str
    fields: tuple[tuple[str, str], ...] = ()


class Exposed(NamedTuple):
    """The answer to `question`: True exposes."""

    question: Question
    exposed: bool
