"""CPU time per request of proxies that take turns under the same load."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.process import BenchError, cpu_seconds, resident_bytes
from bench.wrk import Load


@dataclass(frozen=True, slots=True)
class Subject:
    """A proxy under test: `pid` is the process that carries the requests, `beside` others to report."""

    name: str
    port: int
    pid: int
    beside: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Sample:
    """One turn of one subject: CPU seconds a request, of the carrying process and of those beside it."""

    subject: str
    cpu: float
    cpu_beside: float
    resident: int
    load: Load


def measure(subject: Subject, load: Callable[[int], Load]) -> Sample:
    """Let `load(port)` run once; the CPU time used meanwhile is charged to the requests answered.

    Raises:
        BenchError: none was answered.
    """
    before, before_beside = cpu_seconds(subject.pid), sum(map(cpu_seconds, subject.beside))
    result = load(subject.port)
    used = cpu_seconds(subject.pid) - before
    beside = sum(map(cpu_seconds, subject.beside)) - before_beside
    if result.requests == 0:
        raise BenchError(
            f"{subject.name} has answered nothing in {result.seconds:g} s on port {subject.port}"
        )
    resident = resident_bytes(subject.pid)
    return Sample(subject.name, used / result.requests, beside / result.requests, resident, result)


def take_turns(subjects: Sequence[Subject], rounds: int, load: Callable[[int], Load]) -> list[Sample]:
    """A B A B …: neighbours in time are compared, so that what slows the machine down slows all of them."""
    return [measure(subject, load) for _ in range(rounds) for subject in subjects]


def median_ratio(numerator: Sequence[float], denominator: Sequence[float]) -> float:
    """The median over rounds of the ratio within each round; ValueError if the rounds do not match."""
    return statistics.median(n / d for n, d in zip(numerator, denominator, strict=True))


def of(samples: Sequence[Sample], subject: str) -> list[Sample]:
    """The samples of one subject, in the order they were taken."""
    return [sample for sample in samples if sample.subject == subject]
