"""Where the time of a kill goes: the marks of `bench.tracing`, put together step by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from bench.openloop import percentile

STEPS = (
    ("asked -> killed", "posted", "killed", "HTTP, the admin API"),
    ("killed -> written", "killed", "written", "its own workers' frame is in the socket"),
    ("killed -> rung", "killed", "rung", "the message to all is in the socket"),
    ("rung -> heard", "rung", "heard", "another replica has it"),
    ("heard -> written", "heard", "written", "its workers' frame is in the socket"),
    ("killed -> published", "killed", "published", "the snapshot is in its workers' sockets"),
    ("killed -> told", "killed", "told", "Redis has answered that it keeps the kill"),
    ("written -> received", "written", "received", "the worker has read the frame"),
    ("received -> applied", "received", "applied", "no request is admitted to the candidate any more"),
    ("killed -> applied", "killed", "applied", "all of it, at each replica"),
    ("applied -> last exchange", "last", "exchange", "after the last worker; negative: before"),
)


class Mark(NamedTuple):
    """One step in one process, in nanoseconds: CLOCK_MONOTONIC, CPU of thread and process, wall clock."""

    step: str
    pid: int
    at: int
    thread: int
    process: int
    wall: int


class Kill(NamedTuple):
    """Its marks, when it was asked for (monotonic), and when its last exchange began (wall, nanoseconds)."""

    marks: list[Mark]
    posted: int
    last: int


class Step(NamedTuple):
    """One row: how long, and the CPU time of the loop's thread (None over processes), in milliseconds."""

    name: str
    median: float
    p99: float
    cpu: float | None
    meaning: str


def marks(trace: str, spans: Sequence[tuple[int, int, float]]) -> list[Kill]:
    """What the processes marked, by the kills that were posted, ended and last seen at `spans`."""
    found = [Mark(one[0], *map(int, one[1:])) for one in map(str.split, trace.splitlines())]
    return [
        Kill([one for one in found if posted <= one.at <= ended], posted, int(last * 1e9))
        for posted, ended, last in spans
    ]


def steps(kills: Sequence[Kill], control_of: Mapping[int, int]) -> list[Step]:
    """The rows of the table; `control_of` gives the control process of each worker, by their ids."""
    spent: dict[str, list[float]] = {name: [] for name, *_ in STEPS}
    cpu: dict[str, list[float]] = {name: [] for name, *_ in STEPS}
    for kill in kills:
        for name, first, last, _ in STEPS:
            for began, ended in _pairs(kill, first, last, control_of):
                spent[name].append((ended.at - began.at) / 1e6)
                if began.pid == ended.pid and began.thread:
                    cpu[name].append((ended.thread - began.thread) / 1e6)
    return [
        Step(
            name, percentile(spent[name], 0.5), percentile(spent[name], 0.99),
            percentile(cpu[name], 0.5) if cpu[name] else None, meaning,
        )
        for name, _, _, meaning in STEPS
        if spent[name]
    ]  # fmt: skip


def _pairs(kill: Kill, first: str, last: str, control_of: Mapping[int, int]) -> list[tuple[Mark, Mark]]:
    """The two ends of a step, once in each process that takes it; the first mark of a kind counts."""
    seen: dict[tuple[str, int], Mark] = {}
    for one in sorted(kill.marks, key=lambda mark: mark.at):
        seen.setdefault((one.step, one.pid), one)
    killed = next((one for (step, _), one in seen.items() if step == "killed"), None)
    if killed is None:
        return []
    ends = [one for (step, _), one in seen.items() if step == last]
    if first == "posted":
        return [(Mark("", 0, kill.posted, 0, 0, 0), killed)]
    if first == "last":
        applied = [one for (step, _), one in seen.items() if step == "applied"]
        at = killed.at + kill.last - killed.wall
        return [(max(applied, key=lambda one: one.at), Mark("", 0, at, 0, 0, 0))] if applied else []
    if first == "written":
        found = [(seen.get((first, control_of.get(one.pid, 0))), one) for one in ends]
    elif first in ("killed", "rung") and last in ("applied", "heard"):
        found = [(seen.get((first, killed.pid)), one) for one in ends if one.pid != killed.pid]
    else:
        found = [(seen.get((first, one.pid)), one) for one in ends]
    return [(began, one) for began, one in found if began is not None and began.at <= one.at]


def table(rows: Sequence[Step]) -> str:
    """The rows as text."""
    lines = [f"{'step':26}{'median ms':>10}{'p99 ms':>10}{'CPU ms':>9}  what"]
    for row in rows:
        used = "" if row.cpu is None else f"{row.cpu:.3f}"
        lines.append(f"{row.name:26}{row.median:10.3f}{row.p99:10.3f}{used:>9}  {row.meaning}")
    return "\n".join(lines)
