"""Scenario `memory`: the gateway with everything on, its worker in 256 MiB, while the candidate gets worse.

The worker is held in a control group of 256 MiB where this machine lets one be made: going over it is an OOM
kill, which is counted. Where none can be made its memory is only looked at, and held against the same figure.
Every request is mirrored, both answers are kept, judged, and recorded, half of the load has bodies of 100 kB,
and the candidate goes through its moods. They come again, so that growth can be
seen. The other processes are looked at too; a container that holds them all needs the sum.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx

from bench.bed import Bed, accelerator_is_built
from bench.pointsman import Pointsman, Setup
from bench.process import BenchError, children, ticks
from bench.report import Goal, Section, mebibytes, number
from bench.side_by_side import NOT_BUILT
from bench.traffic import requests

LIMIT = 256 * 1024 * 1024
WORKER_LIMIT = "192MiB"
"""Its `limits.memory`: from four fifths of it mirrors are shed."""
MOODS = ("good", "large", "hang", "endless", "slow", "refuse")
CONNECTIONS = 64
SMALL, LARGE = 400, 20
"""Different requests of each size: the load goes through them in turn."""
LARGE_ROWS = 840
LOOK_EVERY = 0.1


@dataclass(frozen=True, slots=True)
class Phase:
    """One mood, once. Bytes; `kills` of the control group so far, `whole` is all processes together."""

    mood: str
    turn: int
    requests: int
    failed: int
    whole: int
    worker: int
    control: int
    kills: int


class Group:
    """A control group of memory, version 1 or 2: `folder` None where this machine lets none be made."""

    def __init__(self, folder: Path | None, *, unified: bool = False) -> None:
        self.folder = folder
        self._events = "memory.events" if unified else "memory.oom_control"
        self.limit = "memory.max" if unified else "memory.limit_in_bytes"

    def take_in(self, pid: int) -> None:
        """`pid`. What it has already stays charged to where it came from, so that it gets that much less."""
        if self.folder is not None:
            (self.folder / self.limit).write_text(str(LIMIT - proportional_bytes(pid)))
            (self.folder / "cgroup.procs").write_text(str(pid))

    def kills(self) -> int:
        """Processes that the kernel has killed for want of memory."""
        if self.folder is None:
            return 0
        lines = (self.folder / self._events).read_text().split("\n")
        return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))


@contextlib.contextmanager
def group(name: str) -> Iterator[Group]:
    """A group below this process's own; it is removed when it is left, empty by then."""
    folder, unified = None, False
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "memory":
            folder, unified = Path("/sys/fs/cgroup/memory") / path.lstrip("/") / name, False
            break
        if not controllers:
            folder, unified = Path("/sys/fs/cgroup") / path.lstrip("/") / name, True
    try:
        if folder is None:
            raise FileNotFoundError("no control group of memory")
        folder.mkdir()
        if not (folder / Group(folder, unified=unified).limit).exists():
            folder.rmdir()
            raise FileNotFoundError("memory is not controlled here")
    except OSError:
        yield Group(None)
        return
    try:
        yield Group(folder, unified=unified)
    finally:
        for _ in ticks(5):  # until the last of its processes is reaped
            with contextlib.suppress(OSError):
                folder.rmdir()
                break


def proportional_bytes(pid: int) -> int:
    """Memory of `pid`, what it shares divided by how many share it; 0 when it has ended."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


class Look(threading.Thread):
    """Looks at the processes again and again; keeps the most that each, and all together, held."""

    def __init__(self, supervisor: int, worker: int, control: int) -> None:
        super().__init__(daemon=True)
        self._supervisor = supervisor
        self._named = (worker, control)
        self._over = threading.Event()
        self.whole = self.worker = self.control = 0

    def run(self) -> None:
        """See threading.Thread."""
        while not self._over.wait(LOOK_EVERY):
            pids = (self._supervisor, *children(self._supervisor))
            held = {pid: proportional_bytes(pid) for pid in pids}
            worker, control = (held.get(pid, 0) for pid in self._named)
            self.whole = max(self.whole, sum(held.values()))
            self.worker, self.control = max(self.worker, worker), max(self.control, control)

    def over(self) -> None:
        self._over.set()
        self.join()


def phase(
    bed: Bed, gateway: Pointsman, made: Group, candidate: int, mood: str, turn: int, seconds: float
) -> Phase:
    """The load for so many seconds, while the candidate is in `mood`."""
    bed.change(candidate, mood)
    rearm(gateway)
    look = Look(gateway.child.pid, gateway.worker_pids()[0], gateway.control_pid())
    look.start()
    try:
        load = bed.load(seconds, connections=CONNECTIONS)(gateway.port)
    finally:
        look.over()
    held = (look.whole, look.worker, look.control)
    return Phase(mood, turn, load.requests, load.failed, *held, made.kills())


def rearm(gateway: Pointsman) -> None:
    """Give the candidate its part back, if it was taken out."""
    refused: object = None
    for _ in ticks(20):
        try:
            if gateway.endpoint()["switch"]["tripped"]:
                gateway.rearm("bench: it changes its mood")
            return
        except (BenchError, httpx.HTTPError) as error:
            refused = error
    raise BenchError(f"the candidate cannot be given its part back: {refused}; {gateway.child.tail()}")


def run(directory: Path, *, quick: bool, peers: Sequence[str] = ()) -> Section:
    """The scenario: every mood twice."""
    seconds = 2.0 if quick else 10.0
    with ExitStack() as stack:
        bed = Bed(directory, stack, ())
        incumbent, _ = bed.small_model_servers()
        candidate = bed.misbehaving_model_server(MOODS[0])
        bed.send([*requests(SMALL), *(requests(LARGE, rows=LARGE_ROWS) * (SMALL // LARGE))])
        made = stack.enter_context(group(f"pointsman-bench-{incumbent}"))
        setup = Setup(
            incumbent, candidate, ({"mode": "shadow"},), shadow_share="100%", records="on",
            guards={"breaker": {"consecutive_errors": 0}}, accelerated=accelerator_is_built(),
            memory=WORKER_LIMIT,
        )  # fmt: skip
        gateway = Pointsman(setup, directory / "gateway", core=bed.core)
        stack.enter_context(gateway).place_control(bed.load_core)
        made.take_in(gateway.worker_pids()[0])
        order = [(mood, turn) for turn in (1, 2) for mood in MOODS]
        phases = [phase(bed, gateway, made, candidate, mood, turn, seconds) for mood, turn in order]
        mirrors = {
            outcome: gateway.metric("pointsman_mirrors_total", f'outcome="{outcome}"')
            for outcome in ("paired", "dropped", "failed", "timeout")
        }
    return section(phases, mirrors, limited=made.folder is not None)


def section(phases: Sequence[Phase], mirrors: Mapping[str, float], *, limited: bool) -> Section:
    """The table, and the goals. Raises BenchError when nothing was mirrored."""
    if not mirrors["paired"]:
        raise BenchError(f"nothing was mirrored: {dict(mirrors)}")
    whole = max(one.whole for one in phases)
    before, after = (max(one.worker for one in phases if one.turn == turn) for turn in (1, 2))
    last = phases[-1]
    return Section(
        name="memory",
        title="Everything on, a worker in 256 MiB, while the mirrored candidate goes from bad to worse",
        columns=("candidate", "requests", "failed", "all MiB", "worker MiB", "control MiB", "OOM kills"),
        rows=tuple(row(one) for one in phases),
        goals=(
            Goal("memory, workers killed for want of it:", float(last.kills), 0.0),
            Goal("memory, the most that the worker held:", max(before, after) / 2**20, LIMIT / 2**20, " MiB"),
            Goal("memory, requests that failed:", float(sum(one.failed for one in phases)), 0.0),
        ),
        remarks=(
            "mirrors: " + ", ".join(f"{count:.0f} {name}" for name, count in mirrors.items()),
            f"the worker's limits.memory: {WORKER_LIMIT}",
            f"the worker's most in the second round: {number(after / before)} × the first's",
            f"all processes together held at most {mebibytes(whole)} MiB, shared pages once",
            "the worker ran in a control group of 256 MiB"
            if limited
            else "not limited, for no control group of memory can be made here: only looked at",
            *(() if accelerator_is_built() else (NOT_BUILT,)),
        ),
        raw={"phases": [asdict(one) for one in phases], "mirrors": dict(mirrors)},
    )


def row(one: Phase) -> tuple[str, ...]:
    """A phase's line of the table."""
    again = "again" if one.turn > 1 else "first"
    held = (mebibytes(size) for size in (one.whole, one.worker, one.control))
    return (f"{one.mood}, {again}", str(one.requests), str(one.failed), *held, str(one.kills))
