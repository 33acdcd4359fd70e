"""The marks of a kill, put together."""

from __future__ import annotations

import importlib
import runpy

from bench.fanout import TRACING
from bench.steps import Kill, marks, steps, table

MS = 1_000_000
KILLER, OTHER, ITS_WORKER, OTHERS_WORKER = 10, 20, 11, 21
CONTROL_OF = {ITS_WORKER: KILLER, OTHERS_WORKER: OTHER}


def mark(step: str, pid: int, at: float, thread: float = 0.0) -> str:
    """Wall time is monotonic time and a second more."""
    now = int(at * MS)
    return f"{step} {pid} {now} {int(thread * MS)} 0 {now + 1_000 * MS}"


TRACE = "\n".join(
    (
        mark("killed", KILLER, 100, 5.0),
        mark("written", KILLER, 101, 5.5),
        mark("rung", KILLER, 102, 5.75),
        mark("heard", OTHER, 110, 7.0),
        mark("received", ITS_WORKER, 103),
        mark("applied", ITS_WORKER, 104),
        mark("written", OTHER, 111, 7.25),
        mark("received", OTHERS_WORKER, 115),
        mark("applied", OTHERS_WORKER, 116),
        mark("received", OTHERS_WORKER, 120),
        mark("applied", OTHERS_WORKER, 140),
        mark("killed", OTHER, 5000, 9.0),
    )
)


def kill() -> Kill:
    (found,) = marks(TRACE, [(90 * MS, 1000 * MS, 1.118)])
    return found


def test_a_kill_has_the_marks_of_its_own_span_only() -> None:
    assert {one.step for one in kill().marks} == {"killed", "written", "rung", "heard", "received", "applied"}
    assert max(one.at for one in kill().marks) == 140 * MS


def test_each_step_is_measured_where_it_happens_and_the_first_mark_counts() -> None:
    rows = {row.name: row for row in steps([kill()], CONTROL_OF)}
    assert rows["asked -> killed"].median == 10
    assert (rows["killed -> written"].median, rows["killed -> written"].cpu) == (1, 0.5)
    assert rows["rung -> heard"].median == 8, "from the killer to the other replica"
    assert (rows["heard -> written"].median, rows["heard -> written"].cpu) == (1, 0.25)
    assert (rows["written -> received"].median, rows["written -> received"].p99) == (2, 4)
    assert rows["received -> applied"].p99 == 1, "not the snapshot that follows"
    assert rows["killed -> applied"].p99 == 16
    assert rows["applied -> last exchange"].median == 2
    assert "killed -> told" not in rows, "Redis was not asked"


def test_the_table_has_a_line_for_each_step() -> None:
    rows = steps([kill()], CONTROL_OF)
    assert [line.split("  ")[0] for line in table(rows).splitlines()[1:]] == [row.name for row in rows]


def test_the_marks_name_functions_that_exist() -> None:
    tracing = runpy.run_path(str(TRACING / "sitecustomize.py"))
    for module, wrapped in tracing["STEPS"].items():
        for kind, method, *_ in wrapped:
            assert callable(getattr(getattr(importlib.import_module(module), kind), method))
