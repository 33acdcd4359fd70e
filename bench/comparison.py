"""The table of proxies that took turns, the gateway's ratio to each of them, and the goals about it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench import cpu
from bench.bed import ACCELERATED, PURE
from bench.cpu import Sample
from bench.report import Goal, mebibytes, microseconds, milliseconds, number

VARIANTS = {PURE: "pure ÷ it", ACCELERATED: "accelerated ÷ it"}


@dataclass(frozen=True, slots=True)
class Limit:
    """CPU a request of the gateway over a peer's; `variant` None: accelerated where that is built."""

    peer: str
    times: float
    variant: str | None = None


def names(samples: Sequence[Sample]) -> list[str]:
    """The subjects, in the order of their first turn."""
    return list(dict.fromkeys(sample.subject for sample in samples))


def ratio(samples: Sequence[Sample], subject: str, other: str) -> float:
    """CPU a request of `subject` over that of `other`: the median of the rounds' own ratios."""
    own, others = ([sample.cpu for sample in cpu.of(samples, name)] for name in (subject, other))
    return cpu.median_ratio(own, others) if own and others else math.nan


def columns(samples: Sequence[Sample], *, beside: bool = False) -> tuple[str, ...]:
    ratios = [VARIANTS[name] for name in VARIANTS if name in names(samples)]
    last = ("beside µs/request",) if beside else ()
    return (
        "", "CPU µs/request", *ratios, "requests/s", "p50 ms", "p99 ms", "p99.9 ms", "RSS MiB", "failed",
        *last,
    )  # fmt: skip


def rows(samples: Sequence[Sample], label: str = "", *, beside: bool = False) -> tuple[tuple[str, ...], ...]:
    """A line for each subject: medians over the rounds."""
    return tuple(row(samples, name, label, beside=beside) for name in names(samples))


def row(samples: Sequence[Sample], subject: str, label: str = "", *, beside: bool = False) -> tuple[str, ...]:
    own = cpu.of(samples, subject)
    loads = [sample.load for sample in own]
    ratios = [
        "" if subject in VARIANTS else number(ratio(samples, variant, subject))
        for variant in VARIANTS
        if variant in names(samples)
    ]
    last = (microseconds(statistics.median(sample.cpu_beside for sample in own)),) if beside else ()
    return (
        f"{subject}, {label}" if label else subject,
        microseconds(statistics.median(sample.cpu for sample in own)),
        *ratios,
        number(statistics.median(load.per_second for load in loads)),
        milliseconds(statistics.median(load.p50 for load in loads)),
        milliseconds(statistics.median(load.p99 for load in loads)),
        milliseconds(statistics.median(load.p999 for load in loads)),
        mebibytes(own[-1].resident),
        str(sum(load.failed for load in loads)),
        *last,
    )


def alone(sample: Sample, like: Sequence[str]) -> tuple[str, ...]:
    """A line for what nothing is compared with, as wide as the columns `like`."""
    cells = dict.fromkeys(like, "") | dict(zip(columns([sample]), row([sample], sample.subject), strict=True))
    return tuple(cells[column] for column in like)


def goals(
    samples: Sequence[Sample], limits: Sequence[Limit], what: str, asked: Sequence[str]
) -> tuple[Goal, ...]:
    """The goals about peers that were asked for; one that could not take part leaves its goal unmet."""
    present = names(samples)
    shipped = ACCELERATED if ACCELERATED in present else PURE
    made = []
    for limit in limits:
        variant = limit.variant or shipped
        if limit.peer not in asked or variant not in present:
            continue
        name = f"{what}, {variant}: CPU a request over {limit.peer}'s"
        made.append(Goal(name, ratio(samples, variant, limit.peer), limit.times, " ×"))
    return tuple(made)


def spread(samples: Sequence[Sample]) -> str:
    """Lowest and highest round of each subject, so that a reader sees how steady the machine was."""
    parts = []
    for name in names(samples):
        values = [sample.cpu for sample in cpu.of(samples, name)]
        parts.append(f"{name} {microseconds(min(values))} to {microseconds(max(values))}")
    return f"lowest to highest round, µs: {'; '.join(parts)}"


def absences(absent: Mapping[str, str]) -> tuple[str, ...]:
    """A remark for each peer that could not take part."""
    return tuple(f"not measured: {name}: {' '.join(reason.split())[:300]}" for name, reason in absent.items())
