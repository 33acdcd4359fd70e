"""`python -m bench.document [RESULT.json]`: put a run's figures and chart into docs/performance.md.

Without a file the newest run in bench/results is taken. What stands between the two markers is replaced.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench import chart
from bench.process import ROOT, BenchError
from bench.report import Goal, Section, rendered

PAGE = ROOT / "docs" / "performance.md"
PICTURE = ROOT / "docs" / "performance.svg"
BEGIN = "<!-- figures: written by `python -m bench.document` -->"
GOAL_FIELDS = ("name", "measured", "limit", "unit")
END = "<!-- end of figures -->"


def section(document: Mapping[str, Any]) -> Section:
    """A section out of a report's JSON, without its single measurements."""
    return Section(
        name=document["name"],
        title=document["title"],
        columns=tuple(document["columns"]),
        rows=tuple(tuple(row) for row in document["rows"]),
        goals=tuple(Goal(**{key: goal[key] for key in GOAL_FIELDS}) for goal in document["goals"]),
        remarks=tuple(document["remarks"]),
    )


def figures(document: Mapping[str, Any], picture: str | None) -> str:
    """The Markdown of a run: on what it was measured, the chart if there is one, a table a scenario."""
    lines = [f"Measured {document['at'][:10]}.", ""]
    lines += [f"- {name}: {value}" for name, value in document["environment"].items()]
    if picture is not None:
        lines += ["", f"![CPU time a request, forwarding and mirroring]({picture})"]
    for one in document["sections"]:
        lines += ["", "#" + rendered(section(one))]
    return "\n".join(lines)


def replaced(page: str, text: str) -> str:
    """`page` with `text` between the markers; BenchError if it has none."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise BenchError(f"{PAGE.relative_to(ROOT)} has lost its markers: {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{after}"


def newest() -> Path:
    """The last run's JSON; BenchError if there is none."""
    results = sorted((ROOT / "bench" / "results").glob("*.json"))
    if not results:
        raise BenchError("there is no run in bench/results yet: make bench")
    return results[-1]


def main() -> int:
    parser = argparse.ArgumentParser(description="put a run's figures and chart into docs/performance.md")
    parser.add_argument("result", type=Path, nargs="?", help="a run's JSON; the newest one if none is named")
    asked = parser.parse_args()
    try:
        document = json.loads((asked.result or newest()).read_text())
        drawn = chart.draw(document, PICTURE)
        PAGE.write_text(replaced(PAGE.read_text(), figures(document, PICTURE.name if drawn else None)))
    except (BenchError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        print(f"{error.name} is needed for the chart: pip install 'pointsman[bench]'", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
