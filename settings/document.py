"""What a document is: plain JSON values, bounded; and how its values and keys look in a message."""

from __future__ import annotations

import math
import re

from domain.errors import ConfigError

DEEPEST = 32
"""Levels of lists and mappings, one in another."""

MOST_VALUES = 50_000
"""Keys and values in all."""

_MOST_CHARACTERS = 1024 * 1024
_WIDEST_INTEGER = 63
_LONGEST_SHOWN = 80
_PASSWORD = re.compile(r"password=[^&]*", re.IGNORECASE)
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def plain(document: object) -> object:
    """A deep copy of `document` that is certain to be JSON, of bounded depth and length.

    Shared parts (YAML aliases) are written out, which is why the length is bounded here and not only in the
    file. Raises ConfigError.
    """
    return _Copy().of(document, "configuration", 0)


class _Copy:
    def __init__(self) -> None:
        self._characters = _MOST_CHARACTERS
        self._values = MOST_VALUES

    def of(self, value: object, path: str, depth: int) -> object:
        self._count(value, path)
        if depth > DEEPEST:
            raise ConfigError(path, shown(value), f"a configuration nests at most {DEEPEST} levels deep")
        if isinstance(value, dict):
            items = value.items()
            return {self._key(key, path): self.of(item, _below(path, key), depth + 1) for key, item in items}
        if isinstance(value, list | tuple):
            return [self.of(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(value)]
        return self._scalar(value, path)

    def _key(self, key: object, path: str) -> str:
        if not isinstance(key, str):
            raise ConfigError(path, shown(key), "keys are texts; put this one in quotes")
        self._count(key, path)
        return str(self._scalar(key, path))

    def _count(self, value: object, path: str) -> None:
        self._values -= 1
        self._characters -= len(value) if isinstance(value, str) else 0
        if self._values < 0 or self._characters < 0:
            most = f"{MOST_VALUES} keys and values and {_MOST_CHARACTERS} characters"
            raise ConfigError(path, shown(value), f"a configuration has at most {most} in all")

    def _scalar(self, value: object, path: str) -> object:
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            if any("\ud800" <= character <= "\udfff" for character in value):
                raise ConfigError(path, shown(value), "half of a surrogate pair is no character")
            return value
        if isinstance(value, int):
            if value.bit_length() > _WIDEST_INTEGER:
                raise ConfigError(path, shown(value), f"whole numbers have at most {_WIDEST_INTEGER} bits")
            return value
        if isinstance(value, float):
            if not math.isfinite(value):
                raise ConfigError(path, shown(value), "numbers are finite")
            return value
        raise ConfigError(path, shown(value), "use text, number, true, false, null, list or mapping")


def _below(path: str, key: object) -> str:
    name = shown_key(key) if isinstance(key, str) else "?"
    return name if path == "configuration" else f"{path}.{name}"


def shown(value: object) -> object:
    """`value` for a message: short, on one line once it is quoted, and without passwords."""
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return value if value.bit_length() <= _WIDEST_INTEGER else "a number with very many digits"
    if isinstance(value, str):
        start, end = value.find("://"), value.rfind("@")
        text = f"{value[:start]}://***{value[end:]}" if 0 <= start < end else value
        text = _PASSWORD.sub("password=***", text)
        return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "…"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    return f"a {type(value).__name__}"


def shown_key(key: str) -> str:
    """`key` as a part of a path: as it is when it is plain, quoted and short when it is not."""
    return key if _PLAIN_KEY.fullmatch(key) else repr(shown(key))
