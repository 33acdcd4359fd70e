"""Reading a document key by key: every problem is kept with its path, and no key is overlooked.

A `Section` is one mapping of the document. Keys are taken from it one by one, each with a reader for its
value; a key that nobody took is unknown and is reported with the nearest known one. Problems do not stop the
reading: a value that cannot be read counts as absent, so that one pass finds every problem of a document.

The `Ledger` also notes which keys exist at all, as patterns (`endpoints.NAME.timeout`). The documentation's
test compares these with `docs/configuration.md`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import TypeVar

from domain.errors import ConfigError
from settings.document import shown, shown_key

T = TypeVar("T")

MOST_PROBLEMS = 100
"""Problems that are kept; a document with more than that is not a configuration."""

_LONGEST_COMPARED = 80


class Ledger:
    """What one reading of a document found.

    Attributes:
        problems: in the order found, at most `MOST_PROBLEMS`.
        inert: paths of the keys that are valid but not acted upon.
        known: patterns of all keys that were asked for.
    """

    def __init__(self) -> None:
        self.problems: list[ConfigError] = []
        self.inert: list[str] = []
        self.known: set[str] = set()
        self._sections: list[Section] = []

    def root(self, values: Mapping[str, object]) -> Section:
        """The document itself as a section."""
        return self.open(values, "", "")

    def open(self, values: Mapping[str, object], path: str, pattern: str) -> Section:
        """A section whose unknown keys `finish` will report."""
        section = Section(values, path, pattern, self)
        self._sections.append(section)
        return section

    def report(self, path: str, value: object, allowed: str) -> None:
        """Keep one problem."""
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(ConfigError(path, shown(value), allowed))

    def finish(self) -> tuple[ConfigError, ...]:
        """All problems, unknown keys first: a misspelt key also explains the one that is missing."""
        found, self.problems = self.problems, []
        for section in self._sections:
            section.report_unknown()
        self.problems = (self.problems + found)[:MOST_PROBLEMS]
        return tuple(self.problems)


class Section:
    """One mapping of the document. A null stands for an absent key, everywhere."""

    def __init__(self, values: Mapping[str, object], path: str, pattern: str, ledger: Ledger) -> None:
        self.path = path
        self._values = values
        self._pattern = pattern
        self._ledger = ledger
        self._known: list[str] = []

    def holds(self, key: str) -> bool:
        """Whether `key` is given and not null."""
        return self._values.get(key) is not None

    def take(self, key: str, read: Callable[[object], T], default: T) -> T:
        """The value of an optional key; `default` when it is absent or cannot be read."""
        value = self._value(key)
        return default if value is None else self._read(self.at(key), value, read, default)

    def need(self, key: str, read: Callable[[object], T], meaning: str) -> T | None:
        """The value of a required key; None, with a problem kept, when it is absent or cannot be read."""
        value = self._value(key)
        if value is None:
            self.refuse(key, None, f"this key is required: {meaning}")
            return None
        return self._read(self.at(key), value, read, None)

    def each(self, key: str, read: Callable[[object], T]) -> tuple[T, ...]:
        """The values of a list, those that can be read; empty when the key is absent or no list."""
        found = []
        for index, value in enumerate(self._list(key)):
            item = self._read(f"{self.at(key)}[{index}]", value, read, None)
            if item is not None:
                found.append(item)
        return tuple(found)

    def section(self, key: str) -> Section:
        """The mapping under `key`; an empty one when the key is absent or no mapping."""
        return self._ledger.open(self._mapping(key), self.at(key), self._known_as(key))

    def optional(self, key: str) -> Section | None:
        """The mapping under `key`; None when the key is absent or no mapping."""
        section = self.section(key)
        return section if isinstance(self._values.get(key), dict) else None

    def required(self, key: str, meaning: str) -> Section | None:
        """The mapping under `key`; None, with a problem kept, when the key is absent or no mapping."""
        section = self.optional(key)
        if not self.holds(key):
            self.refuse(key, None, f"this key is required: {meaning}")
        return section

    def sections(self, key: str) -> tuple[Section, ...]:
        """The mappings of a list."""
        found = []
        for index, value in enumerate(self._list(key)):
            path = f"{self.at(key)}[{index}]"
            if isinstance(value, dict):
                found.append(self._ledger.open(value, path, f"{self._known_as(key)}[]"))
            else:
                self._ledger.report(path, value, "write a mapping of keys and values")
        return tuple(found)

    def named(self, key: str, name: Callable[[object], str]) -> tuple[tuple[str, Section], ...]:
        """The mappings under `key` by name, where the names are the document's own, read by `name`."""
        found = []
        for given, value in self._mapping(key).items():
            path = f"{self.at(key)}.{shown_key(given)}"
            if self._read(path, given, name, None) is None:
                continue
            if isinstance(value, dict):
                found.append((given, self._ledger.open(value, path, f"{self._known_as(key)}.NAME")))
            else:
                self._ledger.report(path, value, "write a mapping of keys and values")
        return tuple(found)

    def pairs(
        self, key: str, name: Callable[[object], str], read: Callable[[object], T]
    ) -> tuple[tuple[str, T], ...]:
        """The single values under `key` by name, sorted by it."""
        found = []
        for given, value in sorted(self._mapping(key).items()):
            path = f"{self.at(key)}.{shown_key(given)}"
            if self._read(path, given, name, None) is not None:
                item = self._read(path, value, read, None)
                if item is not None:
                    found.append((given, item))
        return tuple(found)

    def inert(self, key: str) -> None:
        """Note `key`, when it is given, as accepted but not acted upon."""
        if self.holds(key):
            self._ledger.inert.append(self.at(key))

    def refuse(self, key: str, value: object, allowed: str) -> None:
        """Keep a problem with `key` that its reader alone could not see."""
        self._ledger.report(self.at(key), value, allowed)

    def given(self, key: str) -> object:
        """What stands under `key`, for a message."""
        return self._values.get(key)

    def at(self, key: str) -> str:
        """The path of `key`."""
        return f"{self.path}.{shown_key(key)}" if self.path else shown_key(key)

    def report_unknown(self) -> None:
        """Keep a problem for every key that nobody asked for."""
        known = list(dict.fromkeys(self._known))
        for key, value in self._values.items():
            if key in known:
                continue
            if len(self._ledger.problems) >= MOST_PROBLEMS:
                return
            near = difflib.get_close_matches(key[:_LONGEST_COMPARED], known, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"known here: {', '.join(known)}"
            self._ledger.report(self.at(key), value, f"there is no such key; {hint}")

    def _value(self, key: str) -> object:
        self._known_as(key)
        return self._values.get(key)

    def _known_as(self, key: str) -> str:
        self._known.append(key)
        pattern = f"{self._pattern}.{key}" if self._pattern else key
        self._ledger.known.add(pattern)
        return pattern

    def _mapping(self, key: str) -> Mapping[str, object]:
        value = self._value(key)
        if value is None or isinstance(value, dict):
            return value or {}
        self.refuse(key, value, "write a mapping of keys and values")
        return {}

    def _list(self, key: str) -> list[object]:
        value = self._value(key)
        if value is None or isinstance(value, list):
            return value or []
        self.refuse(key, value, "write a list")
        return []

    def _read(self, path: str, value: object, read: Callable[[object], T], default: T) -> T:
        try:
            return read(value)
        except ValueError as error:
            self._ledger.report(path, value, str(error))
            return default
