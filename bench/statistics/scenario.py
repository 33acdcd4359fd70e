"""Scenario `statistics`: false alarms of every signal, and delays against the bound and the rivals."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from bench.report import Goal, Section, number
from bench.statistics import bimodal, bound, delays, false_alarms
from bench.statistics.delays import (
    ALPHA,
    EXACT,
    LIMIT,
    MANN_WHITNEY,
    NORMAL,
    POINTSMAN,
    RATES,
    WINDOWS,
    Contest,
)
from bench.statistics.false_alarms import ALPHAS

START_FACTOR, START_PAIRS = 1.3, 1
LATE_FACTOR, LATE_PAIRS = 3.0, 2
COLUMNS = (
    "", "bound", POINTSMAN, "(95 %)", "window of 100", "best window", MANN_WHITNEY, NORMAL, EXACT,
)  # fmt: skip


def run(directory: Path, *, quick: bool, peers: Sequence[str] = ()) -> Section:
    """The scenario, on one core in some ten minutes, in one when `quick`. It has no peers that run."""
    directory.mkdir(parents=True, exist_ok=True)
    streams, pairs, base = (400, 10_000, 400) if quick else (2000, 100_000, 4000)
    contests = {
        name: delays.contest(build, streams, base // 2, pairs) for name, build in delays.contestants().items()
    }
    rows = [*delay_rows(contests, "start"), *delay_rows(contests, "late")]
    rows.append((f"alarms for flips at 1 %, {pairs} pairs", _percent(ALPHA), *_alarms_at_limit(contests)))
    goals = delay_goals(contests)
    raw: dict[str, object] = {name: asdict(one) for name, one in contests.items()}
    alarms: dict[str, object] = {}
    worst = dict.fromkeys(ALPHAS, 0.0)
    for at, row in enumerate(false_alarms.ROWS):
        count = max(100, int(base / row.weight))
        found = false_alarms.shares(false_alarms.peaks(row, count, pairs, seed=100 + at))
        alarms[row.name] = {
            "streams": count,
            "pairs": pairs,
            **{f"{a:g}": share for a, share in found.items()},
        }
        rows.append((row.name, _shares(ALPHAS), _shares(found.values()), f"of {count}", "", "", "", "", ""))
        if not row.breaks:
            for alpha, share in found.items():
                chance = false_alarms.most(count, alpha) / count
                worst[alpha] = max(worst[alpha], share / chance)
    goals += [
        Goal(f"false alarms at α = {a:g}, worst row over what chance allows", worst[a], 1.0) for a in ALPHAS
    ]
    caught = bimodal.caught(streams // 4, 5000, seed=99)
    raw |= {"false alarms": alarms, "bimodal": asdict(caught)}
    rows.append(_bimodal_row(caught))
    goals.append(Goal("bimodal candidates that escape", 1 - caught.by_flips, 0.0))
    return Section(
        name="statistics",
        title=f"Guards: pairs until the alarm, and false alarms (limit {LIMIT:.0%} flips, α = {ALPHA:g})",
        columns=COLUMNS,
        rows=tuple(rows),
        goals=tuple(goals),
        remarks=remarks(streams, pairs),
        raw=raw,
    )


def remarks(streams: int, pairs: int) -> tuple[str, ...]:
    """What the figures mean."""
    widths = ", ".join(map(str, WINDOWS))
    return (
        f"delays: medians of {streams} streams, looked at after every pair; (95 %): so many are not later",
        "bound: ln(1/α) / KL; late: after 10 000 healthy pairs at 0.5 %",
        f"windows: tuned to α in a week of 1200 pairs a minute; best: of {widths} pairs, for this very rate",
        "Mann-Whitney: one point a minute and arm, one-sided P ≤ 1 %, as canary analysis is set up",
        f"false alarms: shares at α = 5 / 1 / 0.1 %, of so many streams of {pairs} pairs",
        "what chance allows: so many alarms that a share of α exceeds them once in 10 000 times",
    )


def delay_rows(contests: Mapping[str, Contest], when: str) -> list[tuple[str, ...]]:
    """Medians by rate; `when` is `start` or `late`."""
    rows = []
    for rate in RATES:
        found = {name: getattr(one, when)[rate] for name, one in contests.items()}
        best = min(found[delays.window_name(width)].median for width in WINDOWS)
        rows.append(
            (
                f"{rate:.0%} flips, {when}",
                number(bound.pairs(rate, LIMIT, ALPHA)),
                _pairs(found[POINTSMAN].median),
                _pairs(found[POINTSMAN].late),
                _pairs(found[delays.window_name(100)].median),
                _pairs(best),
                *(_pairs(found[name].median) for name in (MANN_WHITNEY, NORMAL, EXACT)),
            )
        )
    return rows


def delay_goals(contests: Mapping[str, Contest]) -> list[Goal]:
    """Close to the bound, and never later than a window that is as safe."""
    goals = []
    mine = contests[POINTSMAN]
    for rate in RATES:
        least = bound.pairs(rate, LIMIT, ALPHA)
        window = min(contests[delays.window_name(width)].late[rate].median for width in WINDOWS)
        late = mine.late[rate].median
        goals += [
            Goal(
                f"{rate:.0%} from the start",
                mine.start[rate].median,
                START_FACTOR * least + START_PAIRS,
                " pairs",
            ),
            Goal(f"{rate:.0%} after 10 000 healthy pairs", late, LATE_FACTOR * least + LATE_PAIRS, " pairs"),
            Goal(f"{rate:.0%} late, against the best alarm-safe window", late, window, " pairs"),
        ]
    return goals


def _bimodal_row(caught: bimodal.Caught) -> tuple[str, ...]:
    return (
        "bimodal: 1 % of users get garbage, limit 0.2 %",
        number(bound.pairs(bimodal.SHARE, bimodal.LIMIT, bimodal.ALPHA)),
        _pairs(caught.median),
        f"caught {caught.by_flips:.0%}",
        "", "", "", f"of the mean: caught {caught.by_mean:.1%}", "",
    )  # fmt: skip


def _alarms_at_limit(contests: Mapping[str, Contest]) -> tuple[str, ...]:
    names = (POINTSMAN, None, delays.window_name(100), None, MANN_WHITNEY, NORMAL, EXACT)
    return tuple("" if name is None else _percent(contests[name].false_alarms) for name in names)


def _shares(shares: Iterable[float]) -> str:
    return " / ".join(f"{100 * share:.3g}" for share in shares) + " %"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _pairs(count: float) -> str:
    return "never" if math.isinf(count) else f"{count:.0f}"
