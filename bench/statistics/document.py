"""`python -m bench.statistics.document [RESULT.json]`: put a run's figures and chart into docs/statistics.md.

Without a file the newest run in bench/results that has the scenario is taken. What stands between the two
markers is replaced.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.process import ROOT
from bench.report import number, table
from bench.statistics import bound, chart
from bench.statistics.delays import (
    ALPHA,
    EXACT,
    LIMIT,
    MANN_WHITNEY,
    NORMAL,
    POINTSMAN,
    RATES,
    WINDOWS,
    window_name,
)

PAGE = ROOT / "docs" / "statistics.md"
PICTURE = ROOT / "docs" / "statistics.svg"
BEGIN = "<!-- figures: written by `python -m bench.statistics.document` -->"
END = "<!-- end of figures -->"


def figures(raw: Mapping[str, Any]) -> str:
    """The Markdown of a run: delays, the chart, false alarms. `raw` as a report's JSON holds it."""
    caught = raw["bimodal"]
    return "\n".join(
        [
            "Bad from the start, median of the pairs until the alarm:",
            "",
            _delays(raw, "start"),
            "",
            "Bad after 10 000 healthy pairs:",
            "",
            _delays(raw, "late"),
            "",
            f"![median pairs until the alarm, by flip rate]({PICTURE.name})",
            "",
            "Streams of a healthy candidate that ever alarmed, with a look after every pair:",
            "",
            _alarms(raw["false alarms"]),
            "",
            f"The bimodal candidate was caught in {caught['by_flips']:.0%} of the streams by the flips guard",
            f"(limit 0.2 %), in the median after {caught['median']:.0f} pairs, and by a test of the mean",
            f"prediction in {caught['by_mean']:.1%}.",
        ]
    )


def _delays(raw: Mapping[str, Any], when: str) -> str:
    rows = []
    for rate in RATES:
        mine = raw[POINTSMAN][when][str(rate)]
        windows = [raw[window_name(width)][when][str(rate)]["median"] for width in WINDOWS]
        others = (raw[name][when][str(rate)]["median"] for name in (MANN_WHITNEY, NORMAL, EXACT))
        rows.append(
            (
                f"{rate:.0%}",
                number(bound.pairs(rate, LIMIT, ALPHA)),
                f"**{mine['median']:.0f}** ({mine['late']:.0f})",
                _pairs(raw[window_name(100)][when][str(rate)]["median"]),
                _pairs(min(windows)),
                *map(_pairs, others),
            )
        )
    rows.append(
        ("alarms at 1 %", "≤ 0.1 %", *(
            "" if name is None else f"{raw[name]['false_alarms']:.2%}"
            for name in (POINTSMAN, window_name(100), None, MANN_WHITNEY, NORMAL, EXACT)
        ))
    )  # fmt: skip
    columns = ("flips", "bound", "guard (95 %)", "window of 100", "best window", MANN_WHITNEY, NORMAL, EXACT)
    return table(columns, rows if when == "start" else rows[:-1])


def _alarms(rows: Mapping[str, Mapping[str, float]]) -> str:
    columns = ("healthy candidate", "streams", "pairs each", "α = 5 %", "α = 1 %", "α = 0.1 %")
    return table(
        columns,
        [
            (
                name,
                f"{one['streams']:.0f}",
                f"{one['pairs']:.0f}",
                *(f"{one[alpha]:.2%}" for alpha in ("0.05", "0.01", "0.001")),
            )
            for name, one in rows.items()
        ],
    )


def _pairs(count: float) -> str:
    return "never" if count == float("inf") else f"{count:.0f}"


def newest() -> Mapping[str, Any] | None:
    """The single measurements of the last run that has the scenario."""
    for path in sorted((ROOT / "bench" / "results").glob("*.json"), reverse=True):
        if (found := measurements(path)) is not None:
            return found
    return None


def measurements(path: Path) -> Mapping[str, Any] | None:
    """Those of the run in `path`; None when it has not the scenario."""
    for section in json.loads(path.read_text())["sections"]:
        if section["name"] == "statistics":
            raw: Mapping[str, Any] = section["raw"]
            return raw
    return None


def main(given: Sequence[str]) -> int:
    """Returns the exit code."""
    raw = measurements(Path(given[0])) if given else newest()
    page = PAGE.read_text()
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if raw is None:
        print('no such run: make bench ARGS="--only statistics"', file=sys.stderr)
        return 1
    if not begin or not end:
        print(f"{PAGE.relative_to(ROOT)} has lost its markers: {BEGIN} and {END}", file=sys.stderr)
        return 1
    chart.draw(raw, PICTURE)
    PAGE.write_text(f"{before}{BEGIN}\n\n{figures(raw)}\n\n{END}{after}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
