"""Text of models, operators and servers, made safe for a terminal. Pure.

A model's answer is data of strangers: an escape sequence in it could repaint the operator's screen, a
bidirectional override could turn a version's name around. So everything that came over the network goes
through `visible` before it is printed, and is handed to rich as `Text`, never as markup.
"""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def visible(text: str) -> str:
    r"""`text` with control, format and surrogate characters written as escapes.

    >>> visible("safe\x1b[2J")
    'safe\\x1b[2J'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escaped(character) if _hides(character) else character for character in text)


def _hides(character: str) -> bool:
    return unicodedata.category(character) in _HIDDEN


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def number(value: float | None) -> str:
    """Four significant digits, groups of thousands set apart; a dash for nothing.

    >>> number(40321.7), number(0.01), number(None)
    ('40 322', '0.01', '–')
    """
    if value is None:
        return "–"
    if 1000 <= abs(value) < 1e15:
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.4g}"


def share(value: float) -> str:
    """A fraction as a percentage.

    >>> share(0.25), share(0.0001)
    ('25 %', '0.01 %')
    """
    return f"{100 * value:.4g} %"


def moment(text: str | None) -> str:
    """An ISO 8601 moment in UTC with milliseconds, for people.

    >>> moment("2024-05-01T14:00:00.123456+02:00")
    '2024-05-01 12:00:00.123 UTC'
    """
    if text is None:
        return "–"
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return visible(text)
    if when.tzinfo is not None:
        when = when.astimezone(UTC)
    return f"{when:%Y-%m-%d %H:%M:%S}.{when.microsecond // 1000:03d} UTC"
