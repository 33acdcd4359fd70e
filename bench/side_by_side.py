"""Scenarios `forward` and `mirror`: the gateway beside its peers, by the CPU time of the working process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from bench import comparison, cpu
from bench.bed import ACCELERATED, PURE, Bed, accelerator_is_built
from bench.comparison import Limit
from bench.cpu import Sample
from bench.peers.peer import Route
from bench.pointsman import Pointsman, Setup
from bench.report import Section

PAUSE = 5
"""Milliseconds between an answer and the next request of a connection, where the load does not saturate."""

FORWARD_LIMITS = (
    Limit("haproxy", 1.25, PURE),
    Limit("haproxy", 1.0, ACCELERATED),
    Limit("envoy", 0.45),
)
MIRROR_LIMITS = (
    Limit("nginx", 0.85, PURE),
    Limit("nginx", 0.6, ACCELERATED),
    Limit("envoy", 0.35),
    Limit("traefik", 0.25),
)
NOT_BUILT = "the accelerator is not built here: the gateway is measured in pure Python only"


def canary(incumbent: int, candidate: int) -> Setup:
    """Everything on but mirrors: a flag that exposes half of the users, a canary share of those."""
    return Setup(incumbent, candidate, ({"mode": "canary", "weight": "10%"},), rollout=50)


def forward(directory: Path, *, quick: bool, peers: Sequence[str]) -> Section:
    """Forwarding with metrics, request ids, a flag with a rollout and a canary share; nothing mirrored."""
    rounds, seconds = (5, 1) if quick else (9, 2)
    with ExitStack() as stack:
        bed = Bed(directory, stack, peers)
        incumbent, candidate = bed.small_model_servers()
        bed.peers(Route(0, incumbent))
        bed.pointsman(canary(incumbent, candidate))
        bed.warm_up(bed.load(1))
        alone = cpu.measure(bed.model_server, bed.load(1))
        samples = bed.take_turns(rounds, bed.load(seconds))
    columns = comparison.columns(samples)
    return Section(
        name="forward",
        title="Forwarding: metrics and ids on, a flag's rollout and a canary share, nothing mirrored",
        columns=columns,
        rows=(*comparison.rows(samples), comparison.alone(alone, columns)),
        goals=comparison.goals(samples, FORWARD_LIMITS, "forwarding", peers),
        remarks=(comparison.spread(samples), *remarks(bed)),
        raw={"samples": [asdict(sample) for sample in samples]},
    )


def mirror(directory: Path, *, quick: bool, peers: Sequence[str]) -> Section:
    """All requests mirrored; the gateway keeps both answers and hands them over, peers drop the mirror's."""
    rounds, seconds = (5, 1) if quick else (9, 2)
    with ExitStack() as stack:
        bed = Bed(directory, stack, peers)
        incumbent, candidate = bed.small_model_servers()
        bed.peers(Route(0, incumbent, candidate))
        bed.pointsman(Setup(incumbent, candidate, ({"mode": "shadow"},), shadow_share="100%"))
        bed.warm_up(bed.load(1))
        readings = [read(bed)]
        saturated = bed.take_turns(rounds, bed.load(seconds))
        readings.append(read(bed))
        paced = bed.take_turns(2 if quick else 3, bed.load(seconds, pause=PAUSE))
        readings.append(read(bed))
    return Section(
        name="mirror",
        title="Mirroring 100 %: both answers kept, paired and handed over to the control process",
        columns=comparison.columns(saturated, beside=True),
        rows=(
            *comparison.rows(saturated, "saturated", beside=True),
            *comparison.rows(paced, "paced", beside=True),
        ),
        goals=comparison.goals(saturated, MIRROR_LIMITS, "mirroring", peers),
        remarks=(
            comparison.spread(saturated),
            "beside: the control process, which compares and judges the pairs, on the load's core",
            *became_of(readings[0], readings[1], saturated, "saturated"),
            *became_of(readings[1], readings[2], paced, "paced"),
            *remarks(bed),
        ),
        raw={
            "samples": [asdict(sample) for sample in saturated],
            "paced": [asdict(sample) for sample in paced],
            "handed_over": readings,
        },
    )


def remarks(bed: Bed) -> tuple[str, ...]:
    """Who is missing from a table, and why."""
    return (*comparison.absences(bed.absent), *(() if accelerator_is_built() else (NOT_BUILT,)))


def read(bed: Bed) -> dict[str, dict[str, float]]:
    """By variant, the counters that say what became of the mirrors and of the pairs."""
    return {name: handed_over(gateway) for name, gateway in bed.gateways.items()}


def handed_over(gateway: Pointsman) -> dict[str, float]:
    counters = {
        outcome: gateway.metric("pointsman_mirrors_total", f'outcome="{outcome}"')
        for outcome in ("paired", "dropped", "failed", "timeout")
    }
    return counters | {
        "judged": float(gateway.endpoint()["pairs"]["judged"]),
        "observations dropped": gateway.metric("pointsman_observations_dropped_total"),
    }


def became_of(
    before: Mapping[str, Mapping[str, float]],
    after: Mapping[str, Mapping[str, float]],
    samples: Sequence[Sample],
    label: str,
) -> tuple[str, ...]:
    """What became of the mirrors between two readings of the counters, in words, for each variant."""
    lines = []
    for name in before:
        answered = sum(sample.load.requests for sample in cpu.of(samples, name))
        parts = ", ".join(f"{after[name][key] - before[name][key]:.0f} {key}" for key in after[name])
        lines.append(f"{name}, {label}: of {answered} requests answered, mirrors {parts}")
    return tuple(lines)
