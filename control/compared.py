"""Pairs and what was found in them. Comparing changes nothing, so it may happen anywhere.

Most pairs are small, and hundreds of them are compared in a few milliseconds. But an answer is what a model
server writes, and a request what a client writes: eight megabytes of JSON, or a few kilobytes that inflate to
as much, take many times longer. Such pairs are told from the others by what is known without reading them,
so that they are compared in another process (`control.aside`) and not on a loop that has kills and health
checks to see to. For the same reason what is found is bounded: the rows of a large batch are thinned out by
their places alone, so that what is left is a fair sample of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from comparators.comparison import Comparison
from comparators.kind import Finding
from comparators.readers.features import Features as Table
from domain.errors import ComparatorFault
from domain.media import Media
from domain.observation import Divergence, Observation, Pair, RowFinding
from domain.routing import Arm
from killswitch.columns import JudgedPair
from killswitch.references import MOST_FEATURES

Columns = Mapping[str, npt.NDArray[np.float64]]
"""Features of one request by name, each of shape (rows,)."""

T = TypeVar("T", npt.NDArray[np.float64], tuple[RowFinding, ...], list[object])


class Wanted(NamedTuple):
    """Features to read: `cohorts` by name or index; `watched` for drift: None for all that there are.

    A request that has none of those watched is one that names nothing, and all of its are read, in order.
    """

    cohorts: tuple[str, ...] = ()
    watched: tuple[str, ...] | None = ()

    @property
    def any(self) -> bool:
        return bool(self.cohorts) or self.watched is None or bool(self.watched)


class Light(NamedTuple):
    """Bytes up to which a body, and a batch of them, is compared on the loop: 10 to 20 ms at worst."""

    body: int
    batch: int


TABLES = Light(16 * 1024, 128 * 1024)
LIGHT = {
    "ranking": Light(8 * 1024, 32 * 1024),
    "text": Light(8 * 1024, 32 * 1024),
    "json": Light(8 * 1024, 32 * 1024),
    "boxes": Light(2 * 1024, 8 * 1024),
}
"""By kind, where it is not `TABLES`: values that are compared one by one take longer."""

MOST_FEATURES_READ = 64
"""Requests of a batch whose features are read; which ones depends on their places alone."""

MOST_ROWS = 1024
MOST_PATHS = 4096


class Features(NamedTuple):
    """Of one request: those that cohorts are made of, and those that are watched for drift."""

    cohorts: Columns
    watched: Columns


class Compared(NamedTuple):
    """A batch that was compared.

    Attributes:
        judged: in the order of the pairs.
        unreadable: whose answers could not be read.
        features: of some requests, by the index of their pair.
    """

    judged: list[JudgedPair]
    unreadable: list[Arm]
    features: Mapping[int, Features]


class Found(msgspec.Struct, frozen=True, array_like=True):
    """What was found in one pair: the fields of JudgedPair."""

    divergence: Divergence | None
    fault: str | None
    noise: Divergence | None


def heavy(pairs: Sequence[Pair], kind: str) -> bool:
    """Whether comparing `pairs`, whose predictions are of `kind`, may take longer than the loop can wait."""
    light = LIGHT.get(kind, TABLES)
    total = 0
    for pair in pairs:
        total += pair.size
        if pair.size > light.body and _large(pair, light.body):
            return True
        told = pair.incumbent.media or pair.candidate.media or pair.request_media or pair.repeat
        if told and _coded(pair):
            return True
    return total > light.batch


def found_in(comparison: Comparison, pairs: Sequence[Pair]) -> tuple[list[Found], list[Arm]]:
    """What is in `pairs`, and whose answers could not be read.

    Not compared are pairs in which an arm has no good answer. An incumbent's answer that cannot be read is a
    fault; a candidate's, or the incumbent's second one, is as different as can be.
    """
    comparable = [pair.incumbent.ok and pair.candidate.ok for pair in pairs]
    answered = [(pair.incumbent, pair.candidate) for pair, fit in zip(pairs, comparable, strict=True) if fit]
    repeated = [
        (pair.incumbent, pair.repeat)
        for pair, fit in zip(pairs, comparable, strict=True)
        if fit and pair.repeat is not None and pair.repeat.ok
    ]
    findings = iter(comparison.compare_many(answered))
    noises = iter(comparison.compare_many(repeated) if repeated else ())
    found: list[Found] = []
    unreadable: list[Arm] = []
    for pair, fit in zip(pairs, comparable, strict=True):
        finding = next(findings) if fit else None
        noise = next(noises) if fit and pair.repeat is not None and pair.repeat.ok else None
        fault = None
        if isinstance(finding, ComparatorFault):
            unreadable.append(finding.arm)
            if finding.arm is Arm.INCUMBENT:
                fault, finding, noise = finding.reason, None, None
        found.append(Found(_different(finding), fault, _different(noise)))
    return found, unreadable


def features_of(comparison: Comparison, pairs: Sequence[Pair], wanted: Wanted) -> dict[int, Features]:
    """The features `wanted` of some requests, by the index of their pair; missing where it has none."""
    if not wanted.any:
        return {}
    stride = -(-len(pairs) // MOST_FEATURES_READ)
    found: dict[int, Features] = {}
    for index in range(0, len(pairs), max(1, stride)):
        table = comparison.features(pairs[index].request, pairs[index].request_media)
        found[index] = Features(_named(table, wanted.cohorts), _watched(table, wanted.watched))
    return found


def compare(comparison: Comparison, pairs: Sequence[Pair], wanted: Wanted) -> Compared:
    """What is in `pairs`, and the features `wanted` of some of their requests."""
    found, unreadable = found_in(comparison, pairs)
    return joined(pairs, found, unreadable, features_of(comparison, pairs, wanted))


def joined(
    pairs: Sequence[Pair], found: Sequence[Found], unreadable: list[Arm], features: Mapping[int, Features]
) -> Compared:
    """Pairs and what was found in them."""
    judged = [
        JudgedPair(pair, one.divergence, one.fault, one.noise) for pair, one in zip(pairs, found, strict=True)
    ]
    return Compared(judged, unreadable, features)


def thinned(rows: T) -> T:
    """At most MOST_ROWS of them, evenly spread; the same places for as many rows."""
    stride = -(-len(rows) // MOST_ROWS)
    return rows if stride <= 1 else rows[::stride]


def _named(table: Table, names: Sequence[str]) -> Columns:
    columns = {name: table.column(name) for name in names}
    return {name: thinned(column) for name, column in columns.items() if column is not None}


def _watched(table: Table, names: Sequence[str] | None) -> Columns:
    found = _named(table, names or ())
    if found or (names is not None and len(names) != len(table.names)):
        return found
    return _named(table, table.names[: MOST_FEATURES + 1])


def _different(finding: Finding | None) -> Divergence | None:
    if isinstance(finding, ComparatorFault):
        return Divergence(1.0, True, finding.reason)
    if finding is None or (len(finding.rows) <= MOST_ROWS and len(finding.paths) <= MOST_PATHS):
        return finding
    return Divergence(
        finding.score, finding.flip, finding.reason, finding.incumbent_confidence,
        finding.candidate_confidence, finding.incumbent_label, finding.candidate_label,
        thinned(finding.rows), finding.paths[:MOST_PATHS],
    )  # fmt: skip


def _large(pair: Pair, limit: int) -> bool:
    bodies = [pair.incumbent.body, pair.candidate.body, pair.request]
    if pair.repeat is not None:
        bodies.append(pair.repeat.body)
    return any(len(body) > limit for body in bodies)


def _coded(pair: Pair) -> bool:
    """Whether a body has a content coding, so that its size says little."""
    observations: list[Observation] = [pair.incumbent, pair.candidate]
    if pair.repeat is not None:
        observations.append(pair.repeat)
    medias = [*(one.media for one in observations), pair.request_media]
    return any(media and Media.of(media).content_encoding for media in medias)
