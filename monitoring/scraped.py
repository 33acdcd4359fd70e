"""Metrics of other programs: read from Prometheus' text format, bounded, and labelled with whose they are.

What a model server says of itself is not to be trusted: it may be an error page, half a page, or a label
value a request. So a page is taken whole or not at all, a family whole or not at all, and no more of them
than fit. A label that the program set by a name of ours is kept as `exported_NAME`, as Prometheus does
itself. Names that begin with `pointsman_` are left out: nobody else tells how the gateway is.

Format: https://prometheus.io/docs/instrumenting/exposition_formats/ (0.0.4).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

MOST_SAMPLES = 10_000
"""Samples of one server."""

OURS = "pointsman_"

LONGEST_LINE = 65_536
"""Letters."""

# Possessive, so that no line takes more than linear time.
_NUMBER = r"[+-]?+(?:(?:[0-9]++\.?+[0-9]*+|\.[0-9]++)(?:[eE][+-]?+[0-9]++)?+|[iI]nf|[nN]a[nN])"
_SAMPLE = re.compile(
    r'([a-zA-Z_:][a-zA-Z0-9_:]*+)[ \t]*+(?:\{((?:[^"}]|"(?:[^"\\]|\\.)*+")*+)\})?+[ \t]*+'
    rf"({_NUMBER})(?:[ \t]++-?+[0-9]++)?+"
)
_LABEL = re.compile(r'[ \t]*+([a-zA-Z_][a-zA-Z0-9_]*+)[ \t]*+=[ \t]*+"((?:[^"\\]|\\.)*+)"[ \t]*+(?:,|$)')
_HEAD = re.compile(r"# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) ?(.*)")
_TYPES = frozenset({"counter", "gauge", "histogram", "summary", "untyped"})
_SUFFIXES = ("_bucket", "_count", "_sum", "_total", "_created")
_LONGEST = 60


@dataclass(slots=True)
class Family:
    """One metric: its type, its help as written, and its samples as lines without a line end."""

    type: str = "untyped"
    text: str = ""
    lines: list[str] = field(default_factory=list)


class Scraped(NamedTuple):
    """What was taken of one page: families by name, how many samples they have, how many were left out."""

    families: dict[str, Family]
    samples: int
    left_out: int


def read(page: str, labels: Mapping[str, str], most: int = MOST_SAMPLES) -> Scraped:
    """The metrics of `page`, with `labels` on every sample. Raises ValueError, with the line, for no page."""
    ours = ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())
    families: dict[str, Family] = {}
    for number, line in enumerate(page.split("\n"), 1):
        text = line.strip()
        if head := _HEAD.fullmatch(text):
            _describe(families.setdefault(head[2], Family()), head[1], head[3])
        elif text and not text.startswith("#"):
            found = _SAMPLE.fullmatch(text) if len(text) <= LONGEST_LINE else None
            if found is None:
                raise ValueError(f"line {number} is no metric: {text[:_LONGEST]!r}")
            name, own = found[1], _relabelled(found[2] or "", labels)
            if own is None:
                raise ValueError(f"line {number} has labels that cannot be read: {text[:_LONGEST]!r}")
            family = families.setdefault(_family(name, families), Family())
            family.lines.append(f"{name}{{{ours}{own}}} {_number(found[3])}")
    return _bounded({name: one for name, one in families.items() if one.lines}, most)


def page(scraped: Iterable[Scraped]) -> Iterator[str]:
    """One page of several, a part a family; where two servers differ, the first one says what a family is."""
    together: dict[str, Family] = {}
    for one in scraped:
        for name, family in one.families.items():
            known = together.setdefault(name, Family(family.type, family.text))
            known.lines.extend(family.lines)
    for name, family in together.items():
        lines = "\n".join(family.lines)
        yield f"# HELP {name} {family.text}\n# TYPE {name} {family.type}\n{lines}\n"


def _number(text: str) -> str:
    """`text` so that Prometheus reads it: one number that it refuses would cost it the whole page."""
    value = float(text)
    if math.isnan(value):
        return "NaN"  # C writes -nan, too
    return f"{value:+}".replace("inf", "Inf") if math.isinf(value) else text  # Go refuses 1e400


def _describe(family: Family, kind: str, text: str) -> None:
    if kind == "HELP":
        family.text = text
    elif text in _TYPES:
        family.type = text


def _family(name: str, families: Mapping[str, Family]) -> str:
    for suffix in _SUFFIXES:
        whole = name.removesuffix(suffix)
        if whole != name and whole in families and families[whole].type != "gauge":
            return whole
    return name


def _relabelled(text: str, ours: Mapping[str, str]) -> str | None:
    """The labels in `text`, each behind a comma; None when they cannot be read, or one stands twice."""
    parts: dict[str, str] = {}
    at = count = 0
    while at < len(text) and (found := _LABEL.match(text, at)):
        name = f"exported_{found[1]}" if found[1] in ours else found[1]
        parts[name] = f',{name}="{found[2]}"'
        at = found.end()
        count += 1
    fine = at == len(text) and count == len(parts) and not any(name.startswith("__") for name in parts)
    return "".join(parts.values()) if fine else None


def _bounded(families: dict[str, Family], most: int) -> Scraped:
    taken: dict[str, Family] = {}
    samples = left_out = 0
    for name, family in families.items():
        if name.startswith(OURS) or samples + len(family.lines) > most:
            left_out += len(family.lines)
        else:
            taken[name] = family
            samples += len(family.lines)
    return Scraped(taken, samples, left_out)


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
