"""Scenarios `bodies`, `connections` and `trouble`: the comparison of `forward` under other conditions."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from bench import comparison
from bench.bed import Bed
from bench.cpu import Sample
from bench.peers.peer import Route
from bench.pointsman import Setup
from bench.process import free_ports
from bench.report import Section
from bench.side_by_side import canary, remarks
from bench.traffic import answer, requests

LARGE_ROWS_ASKED = 840
LARGE_ROWS_ANSWERED = 10_000
"""Both make 100 KB of JSON."""
LARGE_REQUESTS = 200
MIRROR_ALL = ({"mode": "shadow"},)


def bodies(directory: Path, *, quick: bool, peers: Sequence[str]) -> Section:
    """Forwarding, 100 KB of JSON each way."""
    rounds, seconds = (3, 1) if quick else (5, 2)
    with ExitStack() as stack:
        bed = Bed(directory, stack, peers)
        incumbent, candidate = bed.model_servers(
            answer("bench-1", 0.83, LARGE_ROWS_ANSWERED), answer("bench-2", 0.82, LARGE_ROWS_ANSWERED)
        )
        bed.send(requests(LARGE_REQUESTS, rows=LARGE_ROWS_ASKED))
        bed.peers(Route(0, incumbent))
        bed.pointsman(canary(incumbent, candidate))
        bed.warm_up(bed.load(1))
        samples = bed.take_turns(rounds, bed.load(seconds))
    return Section(
        name="bodies",
        title="Bodies of 100 KB: forwarding, as much in the answer as in the request",
        columns=comparison.columns(samples),
        rows=comparison.rows(samples),
        remarks=(comparison.spread(samples), *remarks(bed)),
        raw={"samples": [asdict(sample) for sample in samples]},
    )


def connections(directory: Path, *, quick: bool, peers: Sequence[str]) -> Section:
    """Forwarding small JSON over 1 and over 128 connections."""
    rounds, seconds = (3, 1) if quick else (5, 2)
    with ExitStack() as stack:
        bed = Bed(directory, stack, peers)
        incumbent, candidate = bed.small_model_servers()
        bed.peers(Route(0, incumbent))
        bed.pointsman(canary(incumbent, candidate))
        bed.warm_up(bed.load(1))
        parts = {
            "1 connection": bed.take_turns(rounds, bed.load(seconds, connections=1)),
            "128 connections": bed.take_turns(rounds, bed.load(seconds, connections=128)),
        }
    first = next(iter(parts.values()))
    return Section(
        name="connections",
        title="Few and many connections: forwarding small JSON (16 connections: see forwarding)",
        columns=comparison.columns(first),
        rows=tuple(row for label, samples in parts.items() for row in comparison.rows(samples, label)),
        remarks=remarks(bed),
        raw={label: [asdict(sample) for sample in samples] for label, samples in parts.items()},
    )


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong: the mood of the incumbent, and of the candidate, or `dead` when nobody listens."""

    label: str
    incumbent: str
    candidate: str | None = None


TROUBLES = (
    Trouble("the model server needs 20 ms", "slow"),
    Trouble("the model server is dead", "dead"),
    Trouble("mirrored to a candidate that needs 20 ms", "good", "slow"),
    Trouble("mirrored to a dead candidate", "good", "dead"),
)


def trouble(directory: Path, *, quick: bool, peers: Sequence[str]) -> Section:
    """A model server that is slow or dead, as incumbent and as mirrored candidate."""
    rounds, seconds = (1, 1) if quick else (3, 2)
    parts: dict[str, list[Sample]] = {}
    notes: list[str] = []
    for number, one in enumerate(TROUBLES):
        with ExitStack() as stack:
            bed = Bed(directory / str(number), stack, peers)
            incumbent = server(bed, one.incumbent)
            candidate = None if one.candidate is None else server(bed, one.candidate)
            bed.peers(Route(0, incumbent, candidate))
            share = "0%" if candidate is None else "100%"
            setup = Setup(incumbent, candidate or free_ports(1)[0], MIRROR_ALL, shadow_share=share)
            bed.pointsman(setup)
            load = bed.load(seconds, connections=128 if one.incumbent == "slow" else 16)
            bed.warm_up(load)
            parts[one.label] = bed.take_turns(rounds, load)
            notes += [note for note in remarks(bed) if note not in notes]
    return Section(
        name="trouble",
        title="A slow or dead model server, as incumbent (128 and 16 connections) and as mirrored candidate",
        columns=comparison.columns(parts[TROUBLES[0].label]),
        rows=tuple(row for label, samples in parts.items() for row in comparison.rows(samples, label)),
        remarks=("failed: of a dead incumbent every answer is an error, 502 or 503", *notes),
        raw={label: [asdict(sample) for sample in samples] for label, samples in parts.items()},
    )


def server(bed: Bed, mood: str) -> int:
    return free_ports(1)[0] if mood == "dead" else bed.misbehaving_model_server(mood)
