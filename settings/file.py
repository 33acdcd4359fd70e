"""The configuration file: YAML to a document, with YAML's ambiguities refused or resolved simply.

YAML surprises: `no` is false, `1:30` is ninety, a key that stands twice silently wins, a few lines of aliases
expand to gigabytes, and tags construct objects. Here scalars are read by YAML 1.2's core schema (`no` is a
text; section 10.3.2), a key may stand once, an alias is allowed but what it expands to is bounded
(`settings.document.plain`), merge keys are unknown keys, and tags are refused. Nothing is taken from the
environment: what is in force is what stands in the file.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import yaml

from domain.errors import ConfigError
from settings.document import DEEPEST, MOST_VALUES, shown
from settings.parse import parse
from settings.schema import Settings

LARGEST = 1024 * 1024
"""Bytes of a configuration file."""

_PREFIX = "tag:yaml.org,2002:"
_TRUE = frozenset({"true", "True", "TRUE"})
_MOST_DIGITS = 100


def identity(path: Path) -> tuple[int, ...] | None:
    """What changes when the file at `path` does; None while it is not there."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


class _Loader(yaml.SafeLoader):
    """The core schema of YAML 1.2, and bounds that hold while it reads: its time grows with every node."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 - PyYAML's way; the resolvers of YAML 1.1 are left behind
    _depth = 0
    _nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self._depth += 1
        self._nodes += 1
        mark = self.get_mark()
        if self._depth > DEEPEST + 1:
            raise yaml.MarkedYAMLError(problem=f"nested more than {DEEPEST} levels deep", problem_mark=mark)
        if self._nodes > MOST_VALUES:
            raise yaml.MarkedYAMLError(problem=f"more than {MOST_VALUES} keys and values", problem_mark=mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


for _name, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
):
    _Loader.add_implicit_resolver(_PREFIX + _name, re.compile(rf"(?:{_pattern})\Z"), _first)


def load(path: Path) -> Settings:
    """The settings in the file at `path`. Raises ConfigError for the first problem."""
    return parse(document(path))


def document(path: Path) -> object:
    """The file at `path` as lists, mappings with text keys, texts, numbers, booleans and null.

    Raises ConfigError, with the file and the line, when it cannot be read or is no YAML.
    """
    return decode(_content(path), str(path))


def decode(content: bytes, name: str) -> object:
    """The same from the file's bytes; `name` is what errors call the file."""
    if len(content) > LARGEST:
        raise ConfigError(name, f"{len(content)} bytes", f"a configuration file has at most {LARGEST} bytes")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        wrong = content[error.start : error.start + 1]
        raise ConfigError(f"{name}, line {line}", wrong, "write the file in UTF-8") from error
    try:
        node = yaml.compose(text, Loader=_Loader)
        if node is None:
            raise ConfigError(name, "", "the file is empty; docs/configuration.md has an example")
        return _Values(name).of(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = name if mark is None else f"{name}, line {mark.line + 1}, column {mark.column + 1}"
        found = "" if mark is None else _line(text, mark.line)
        reason = error.problem or error.context
        raise ConfigError(where, shown(found), f"this cannot be read as YAML: {reason}") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        wrong_character = text[error.position]
        raise ConfigError(f"{name}, line {line}", wrong_character, "YAML has no such character") from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # PyYAML lets through what chr() raises
        raise ConfigError(name, shown(str(error)), "this is not YAML") from error


def _content(path: Path) -> bytes:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ConfigError("configuration file", str(path), "it is no file; name a YAML file")
        with path.open("rb") as file:
            return file.read(LARGEST + 1)
    except FileNotFoundError as error:
        allowed = "there is no such file; name one with -c, or write one by docs/configuration.md"
        raise ConfigError("configuration file", str(path), allowed) from error
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigError("configuration file", str(path), f"it cannot be read: {reason}") from error


def _line(text: str, index: int) -> str:
    lines = text.splitlines()
    return lines[index].strip() if index < len(lines) else "the end of the file"


class _Values:
    """From YAML's nodes to values. A node that several aliases name becomes one shared value."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._made: dict[int, object] = {}
        self._open: set[int] = set()

    def of(self, node: yaml.Node) -> object:
        key = id(node)
        if key in self._made:
            return self._made[key]
        if key in self._open:
            raise self._error(node, "an alias", "a list or mapping cannot contain itself")
        self._open.add(key)
        value = self._made[key] = self._make(node)
        self._open.discard(key)
        return value

    def _make(self, node: yaml.Node) -> object:
        kind = node.tag.removeprefix(_PREFIX)
        if isinstance(node, yaml.MappingNode) and kind == "map":
            return self._mapping(node)
        if isinstance(node, yaml.SequenceNode) and kind == "seq":
            return [self.of(item) for item in node.value]
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, kind)
        raise self._error(node, node.tag, "tags are not used in a configuration; leave it out")

    def _mapping(self, node: yaml.MappingNode) -> dict[str, object]:
        values: dict[str, object] = {}
        lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            key = self.of(key_node)
            if not isinstance(key, str):
                raise self._error(key_node, shown(key), "keys are texts; put this one in quotes")
            if key in values:
                before = f"this one stands in line {lines[key]} too"
                raise self._error(key_node, shown(key), f"a key stands once; {before}")
            values[key] = self.of(value_node)
            lines[key] = key_node.start_mark.line + 1
        return values

    def _scalar(self, node: yaml.ScalarNode, kind: str) -> object:
        text = node.value
        try:
            if kind == "str":
                return text
            if kind == "null":
                return None
            if kind == "bool":
                return text in _TRUE
            if kind == "int" and len(text) <= _MOST_DIGITS:
                return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
            if kind == "float":
                return float(text.replace(".inf", "inf").replace(".nan", "nan"))
        except ValueError as error:  # an explicit tag on a text that is none: !!int x
            raise self._error(node, shown(text), f"this is no {kind}") from error
        raise self._error(node, shown(text), "this is no plain value; put it in quotes")

    def _error(self, node: yaml.Node, value: object, allowed: str) -> ConfigError:
        return ConfigError(f"{self._name}, line {node.start_mark.line + 1}", value, allowed)
