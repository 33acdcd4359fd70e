"""An endpoint's drift as JSON: its alarm, each column against its reference and the week before, and latency
by slice."""

from __future__ import annotations

from collections.abc import Sequence

from control.clock import iso, iso_or_none
from control.drift_endpoint import DriftOf
from monitoring.drift.hour import HOUR, Hour
from monitoring.drift.latencies import EVERY, Slow
from monitoring.drift.profile import CONFIDENCE, FEATURE, PREDICTION, ColumnProfile, Profile
from monitoring.drift.sketch import Distance, Sketch

ERROR = 0.05
"""The chance at most that the bounds of any column of an answer are wrong."""
MOST_SLICES = 50

Shown = dict[str, object]


def endpoint(one: DriftOf) -> Shown:
    """What is known without any counts."""
    settings, adopted, learning = one.settings, one.adopted, one.learning
    off = not settings.log.share
    shown: Shown = {
        "endpoint": settings.name,
        "condition": "off" if off else "watching" if adopted is not None else "learning",
        "problem": "the prediction log is off for this endpoint" if off else one.problem,
        "reference": None,
        "learning": None,
        "alarm": _alarm(one),
        "drawn": {"records": one.records, **dict(sorted(one.rows.items()))},
    }
    if adopted is not None:
        shown["reference"] = {
            "origin": adopted.profile.origin,
            "digest": adopted.digest,
            "adopted_at": iso(adopted.at),
            "rows": adopted.profile.rows,
            "since": iso_or_none(adopted.profile.since),
            "until": iso_or_none(adopted.profile.until),
        }
    elif not off:
        shown["learning"] = {
            "requests": learning.seen,
            "needed": settings.drift.learn,
            "not_before": iso_or_none(one.learns_until),
        }
    return shown


def counts(
    profile: Profile, live: Hour, first: int, last: int, alike: tuple[Hour, Hour] | None, hours: int
) -> Shown:
    """What came in the hours from `first` to `last`; `alike`: the part of it that has the same hours a week
    before, and these; None where there are none."""
    misjudged = ERROR / (2 * len(profile.columns))
    columns = []
    for one in profile.columns:
        sketch = live.sketches[one.name]
        shown = column(one, sketch, sketch.distance(misjudged))
        if alike is not None:
            recent, before = (hour.sketches[one.name] for hour in alike)
            shown["prior_week"] = _distance(recent.distance(misjudged, before)) | {"rows": before.rows}
            for cell, share in zip(_cells(shown), before.shares.tolist(), strict=True):
                cell["prior_week"] = share
        columns.append(shown)
    columns.sort(key=lambda shown: -_number(shown["shift"]))
    slices = live.latencies.slices()
    return {
        "window": {
            "since": iso(first * HOUR), "until": iso((last + 1) * HOUR), "hours": hours, "rows": live.rows,
        },
        "prior_week": None if alike is None else {"rows": alike[1].rows, "compared_rows": alike[0].rows},
        "columns": columns,
        "unknown_features": dict(sorted(live.unknown.items())),
        "latency": {
            "all": _slice(profile, slices[0]) if slices else None,
            "slices": [_slice(profile, one) for one in _spread(slices[1:])],
        },
    }  # fmt: skip


def column(profile: ColumnProfile, sketch: Sketch, distance: Distance) -> Shown:
    """One column, its cells for a chart."""
    kind = profile.name if profile.name in (PREDICTION, CONFIDENCE) else "feature"
    shares = sketch.shares.tolist()
    return {
        "name": profile.name.removeprefix(FEATURE),
        "of": kind,
        "kind": profile.kind,
        "rows": sketch.rows,
        **_distance(distance),
        "missing": float(sketch.shares[-1]),
        "retyped": sketch.retyped,
        "below": sketch.below,
        "above": sketch.above,
        "lowest": sketch.lowest,
        "highest": sketch.highest,
        "new_categories": [
            {"value": value, "rows": rows}
            for value, rows in sorted(sketch.new.items(), key=lambda item: (-item[1], item[0]))
        ],
        "cells": [
            {"cell": label(profile, cell), "reference": reference, "share": share}
            for cell, (reference, share) in enumerate(zip(profile.shares.tolist(), shares, strict=True))
        ],
        "prior_week": None,
    }


def label(profile: ColumnProfile, cell: int) -> str:
    """What a cell holds, for people."""
    edges = profile.edges
    if cell == len(profile.counts) - 1:
        return "nothing"
    if cell == profile.other:
        return "other texts"
    if cell >= profile.bins:
        return repr(profile.categories[cell - profile.bins])
    if not edges:
        return "any number"
    if cell == 0:
        return f"≤ {edges[0]:.6g}"
    return f"> {edges[-1]:.6g}" if cell == len(edges) else f"{edges[cell - 1]:.6g} to {edges[cell]:.6g}"


def _alarm(one: DriftOf) -> Shown | None:
    if one.watch is None:
        return None
    report, since = one.watch.alarm()
    return {
        "verdict": one.watch.verdict.value,
        "column": column_named(report.cohort),
        "estimate": report.estimate,
        "limit": report.limit,
        "evidence": report.evidence,
        "threshold": report.threshold,
        "votes": report.count,
        "sentence": sentence(report.sentence),
        "since": iso_or_none(since),
    }


def column_named(cohort: str) -> str:
    """The column that a guard's report is of."""
    return cohort.removeprefix("feature:").removeprefix(FEATURE)


def sentence(told: str) -> str:
    """The guard's sentence, in which columns are called by their names."""
    found = told.replace("feature feature:", "feature ", 1)
    for name in (PREDICTION, CONFIDENCE):
        found = found.replace(f"feature {name}:", f"{name}:", 1)
    return found


def _distance(found: Distance) -> Shown:
    return {
        "shift": found.shift.estimate,
        "shift_low": found.shift.low,
        "shift_high": found.shift.high,
        "stability_index": found.stability,
        "moved": found.moved,
        "missing_shift": found.missing,
    }


def _slice(profile: Profile, found: Slow) -> Shown:
    by, value = found.slice
    if by.startswith(FEATURE):
        known = next((one for one in profile.columns if one.name == by), None)
        if known is not None and value.isdigit() and int(value) < len(known.counts):
            value = label(known, int(value))
    shown: Shown = {"by": by, "value": value} if found.slice != EVERY else {}
    return shown | {
        "rows": found.rows, "p50": found.p50, "p95": found.p95, "p99": found.p99, "beyond": found.beyond,
        "slow": found.slow,
    }  # fmt: skip


def _spread(slices: Sequence[Slow]) -> Sequence[Slow]:
    """The certainly slowest; all values of cohorts before others where there is room."""
    slow = [one for one in slices if one.slow]
    rest = [one for one in slices if not one.slow]
    rest.sort(key=lambda one: one.slice[0].startswith(FEATURE))
    return (slow + rest)[:MOST_SLICES]


def _cells(shown: Shown) -> list[Shown]:
    cells = shown["cells"]
    return cells if isinstance(cells, list) else []


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
