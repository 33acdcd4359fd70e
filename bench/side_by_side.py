"""Scenarios `forward` and `mirror`: the gateway beside nginx, by the CPU time of the process that works."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path

from bench import cpu, peers, wrk
from bench.cpu import Sample, Subject
from bench.pointsman import Pointsman, Setup
from bench.process import cores, free_ports
from bench.report import Goal, Section, mebibytes, microseconds, milliseconds, number
from bench.traffic import answer, requests

CONNECTIONS = 16
DIFFERENT_REQUESTS = 20_000
NGINX = "nginx"
GATEWAY = "pointsman"
MODEL_SERVER = "(the model server alone)"
# Milliseconds between an answer and the next request on each connection, where the load is not to saturate.
PAUSE = 5

FORWARD_LIMIT_SECONDS = 45e-6
FORWARD_LIMIT_RATIO = 2.5
MIRROR_LIMIT_RATIO = 1.2

COLUMNS = ("", "CPU µs/request", "× nginx", "requests/s", "p50 ms", "p99 ms", "RSS MiB", "failed")


class Bed:
    """Two model servers (one nginx on the load's core), the requests' file, what is started around them."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.directory = directory
        self.stack = stack
        self.core, self.load_core = cores()
        self.incumbent, self.candidate = free_ports(2)
        directory.mkdir(parents=True)
        self.requests = directory / "requests"
        self.requests.write_bytes(b"\0".join(requests(DIFFERENT_REQUESTS)))
        servers = peers.model_servers(
            [(self.incumbent, answer("bench-1", 0.83)), (self.candidate, answer("bench-2", 0.82))]
        )
        self.servers = stack.enter_context(peers.start(servers, directory / "servers", self.load_core))
        self.servers.wait_port(self.incumbent)

    def model_server(self) -> Subject:
        return Subject(MODEL_SERVER, self.incumbent, peers.worker(self.servers))

    def nginx(self, mirrored_to: int | None = None) -> Subject:
        (port,) = free_ports(1)
        content = peers.proxy(port, self.incumbent, mirrored_to)
        child = self.stack.enter_context(peers.start(content, self.directory / "nginx", self.core))
        child.wait_port(port)
        return Subject(NGINX, port, peers.worker(child))

    def gateway(self, setup: Setup) -> tuple[Pointsman, Subject]:
        gateway = self.stack.enter_context(Pointsman(setup, self.directory / "gateway", core=self.core))
        gateway.place_control(self.load_core)
        (worker,) = gateway.worker_pids()
        return gateway, Subject(GATEWAY, gateway.port, worker, (gateway.control_pid(),))

    def load(self, seconds: float, pause: int | None = None) -> Callable[[int], wrk.Load]:
        return partial(
            wrk.run,
            requests=self.requests,
            seconds=seconds,
            connections=CONNECTIONS,
            core=self.load_core,
            pause=pause,
        )


def forward(directory: Path, *, quick: bool) -> Section:
    """Forwarding with metrics, request ids, a flag with a rollout and a canary share; nothing mirrored."""
    rounds, seconds = (5, 1) if quick else (9, 3)
    with ExitStack() as stack:
        bed = Bed(directory, stack)
        setup = Setup(bed.incumbent, bed.candidate, ({"mode": "canary", "weight": "10%"},), rollout=50)
        subjects = [bed.nginx(), bed.gateway(setup)[1]]
        alone = cpu.measure(bed.model_server(), bed.load(1))
        cpu.take_turns(subjects, 1, bed.load(1))
        samples = cpu.take_turns(subjects, rounds, bed.load(seconds))
    ratio = cpu_ratio(samples)
    own = statistics.median(sample.cpu for sample in cpu.of(samples, GATEWAY))
    return Section(
        name="forward",
        title="Forwarding: metrics and ids on, a flag's rollout and a canary share, nothing mirrored",
        columns=COLUMNS,
        rows=(*(row(samples, name, ratio) for name in (NGINX, GATEWAY)), row([alone], MODEL_SERVER, None)),
        goals=(
            Goal("CPU a request", own * 1e6, FORWARD_LIMIT_SECONDS * 1e6, " µs"),
            Goal("CPU a request over nginx's", ratio, FORWARD_LIMIT_RATIO, " ×"),
        ),
        remarks=(spread(samples),),
        raw={"samples": [asdict(sample) for sample in samples]},
    )


def mirror(directory: Path, *, quick: bool) -> Section:
    """All requests mirrored, both answers kept and handed over, against nginx's `mirror`."""
    rounds, seconds = (5, 1) if quick else (9, 3)
    with ExitStack() as stack:
        bed = Bed(directory, stack)
        setup = Setup(bed.incumbent, bed.candidate, ({"mode": "shadow"},), shadow_share="100%")
        gateway, subject = bed.gateway(setup)
        subjects = [bed.nginx(bed.candidate), subject]
        cpu.take_turns(subjects, 1, bed.load(1))
        before = handed_over(gateway)
        samples = cpu.take_turns(subjects, rounds, bed.load(seconds))
        between = handed_over(gateway)
        paced = cpu.take_turns(subjects, 2 if quick else 4, bed.load(seconds, PAUSE))
        after = handed_over(gateway)
    ratio, paced_ratio = cpu_ratio(samples), cpu_ratio(paced)
    return Section(
        name="mirror",
        title="Mirroring 100 %: both answers kept, paired and handed over to the control process",
        columns=(*COLUMNS, "beside µs/request"),
        rows=tuple(
            (*row(part, name, part_ratio, label), beside(part, name))
            for part, part_ratio, label in ((samples, ratio, "saturated"), (paced, paced_ratio, "paced"))
            for name in (NGINX, GATEWAY)
        ),
        goals=(Goal("CPU a request over nginx's mirror", ratio, MIRROR_LIMIT_RATIO, " ×"),),
        remarks=(
            spread(samples),
            "beside: the control process, which compares and judges the pairs, on the load's core",
            f"saturated: {counted(before, between, cpu.of(samples, GATEWAY))}",
            f"paced: {counted(between, after, cpu.of(paced, GATEWAY))}",
        ),
        raw={
            "samples": [asdict(sample) for sample in samples],
            "paced": [asdict(sample) for sample in paced],
            "paced_ratio": paced_ratio,
            "handed_over": [before, between, after],
        },
    )


def cpu_ratio(samples: Sequence[Sample]) -> float:
    """CPU a request of the gateway over nginx's: the median of the rounds' ratios."""
    return cpu.median_ratio(
        [sample.cpu for sample in cpu.of(samples, GATEWAY)], [sample.cpu for sample in cpu.of(samples, NGINX)]
    )


def row(samples: Sequence[Sample], subject: str, ratio: float | None, label: str = "") -> tuple[str, ...]:
    """One line of the table: medians over the rounds."""
    own = cpu.of(samples, subject)
    loads = [sample.load for sample in own]
    return (
        f"{subject}, {label}" if label else subject,
        microseconds(statistics.median(sample.cpu for sample in own)),
        number(ratio) if ratio is not None and subject == GATEWAY else "",
        number(statistics.median(load.per_second for load in loads)),
        milliseconds(statistics.median(load.p50 for load in loads)),
        milliseconds(statistics.median(load.p99 for load in loads)),
        mebibytes(own[-1].resident),
        str(sum(load.failed for load in loads)),
    )


def beside(samples: Sequence[Sample], subject: str) -> str:
    return microseconds(statistics.median(sample.cpu_beside for sample in cpu.of(samples, subject)))


def spread(samples: Sequence[Sample]) -> str:
    """Lowest and highest round of each subject, so that a reader sees how steady the machine was."""
    parts = []
    for name in (NGINX, GATEWAY):
        values = [sample.cpu for sample in cpu.of(samples, name)]
        parts.append(f"{name} {microseconds(min(values))} to {microseconds(max(values))}")
    return f"lowest to highest round, µs: {'; '.join(parts)}"


def handed_over(gateway: Pointsman) -> dict[str, float]:
    """The counters that say what became of the mirrors and of the pairs."""
    counters = {
        outcome: gateway.metric("pointsman_mirrors_total", f'outcome="{outcome}"')
        for outcome in ("paired", "dropped", "failed", "timeout")
    }
    return counters | {
        "judged": float(gateway.endpoint()["pairs"]["judged"]),
        "observations dropped": gateway.metric("pointsman_observations_dropped_total"),
    }


def counted(before: Mapping[str, float], after: Mapping[str, float], samples: Sequence[Sample]) -> str:
    """What became of the mirrors between two readings of the counters, in words."""
    answered = sum(sample.load.requests for sample in samples)
    parts = [f"{after[name] - before[name]:.0f} {name}" for name in after]
    return f"of {answered} requests answered, mirrors " + ", ".join(parts)
