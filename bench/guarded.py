"""Scenario `guarded`: what it costs to ask both arms before a client is answered.

One model server is asked directly and through gateways that differ in their plan alone: the incumbent
mirrored to the candidate (`shadow`), the candidate serving everybody, not mirrored and mirrored (`canary`),
and the candidate serving where it agrees (`guarded`). The two agree on everything, so that the guarded client
waits for both and for their comparison, and gets the candidate's answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path

from bench import comparison, cpu
from bench.bed import Bed, accelerator_is_built
from bench.cpu import Sample, Subject
from bench.pointsman import Pointsman, Setup
from bench.process import BenchError
from bench.report import Section, milliseconds, number
from bench.side_by_side import NOT_BUILT, PAUSE

ALL = "100%"
GUARDED = "guarded"
SHADOW = "shadow"
CANARY = "canary"
MIRRORED_CANARY = "canary, mirrored"
SLOW = "guarded, candidate 20 ms late"


def run(directory: Path, *, quick: bool, peers: Sequence[str] = ()) -> Section:
    """The scenario."""
    rounds, seconds = (3, 1) if quick else (7, 2)
    with ExitStack() as stack:
        bed = Bed(directory, stack, ())
        incumbent, candidate = bed.small_model_servers()
        late = bed.misbehaving_model_server("slow")
        to_both = Setup(incumbent, candidate, ({"mode": SHADOW},), accelerated=accelerator_is_built())
        canary = ({"mode": CANARY, "weight": ALL},)
        guarded = ({"mode": GUARDED, "weight": ALL},)
        setups = {
            CANARY: replace(to_both, plan=canary),
            MIRRORED_CANARY: replace(to_both, plan=canary, shadow_share=ALL),
            SHADOW: replace(to_both, shadow_share=ALL),
            GUARDED: replace(to_both, plan=guarded, shadow_share=ALL),
            SLOW: replace(to_both, candidate=late, plan=guarded, shadow_share=ALL),
        }
        gateways = {name: _start(stack, bed, name, setup) for name, setup in setups.items()}
        subjects = [bed.model_server, *(_subject(name, gateway) for name, gateway in gateways.items())]
        for subject in subjects:
            cpu.measure(subject, bed.load(1))
        paced = cpu.take_turns(subjects, rounds, bed.load(seconds, pause=PAUSE))
        saturated = cpu.take_turns(subjects[1:-1], rounds, bed.load(seconds))
        became = {name: _events(gateways[name]) for name in (GUARDED, SLOW)}
    return section(paced, saturated, became)


def section(
    paced: Sequence[Sample], saturated: Sequence[Sample], became: dict[str, dict[str, float]]
) -> Section:
    """The table, and what became of the candidate's answers. Raises BenchError when nothing was guarded."""
    for name, events in became.items():
        if events["guarded_agreed"] == 0:
            raise BenchError(f"{name}: none of the candidate's answers was served: {events}")
    return Section(
        name="guarded",
        title="Guarded: both arms asked before the client is answered, beside shadow and canary",
        columns=comparison.columns(paced, beside=True),
        rows=(
            *comparison.rows(paced, "paced", beside=True),
            *comparison.rows(saturated, "saturated", beside=True),
        ),
        remarks=(
            *(_added(paced, other) for other in (CANARY, SHADOW)),
            *(
                f"CPU a request, guarded over {other}: {number(comparison.ratio(saturated, GUARDED, other))}"
                for other in (CANARY, MIRRORED_CANARY, SHADOW)
            ),
            *(f"{name}: {_told(events)}" for name, events in became.items()),
            f"paced: 16 connections, each {PAUSE} ms after its last answer",
            *(() if accelerator_is_built() else (NOT_BUILT,)),
        ),
        raw={"paced": [asdict(one) for one in paced], "saturated": [asdict(one) for one in saturated]},
    )


def _start(stack: ExitStack, bed: Bed, name: str, setup: Setup) -> Pointsman:
    folder = bed.directory / name.replace(", ", "-").replace(" ", "-")
    gateway = stack.enter_context(Pointsman(setup, folder, core=bed.core))
    gateway.place_control(bed.load_core)
    return gateway


def _subject(name: str, gateway: Pointsman) -> Subject:
    (worker,) = gateway.worker_pids()
    return Subject(name, gateway.port, worker, (gateway.control_pid(),))


def _events(gateway: Pointsman) -> dict[str, float]:
    names = ("guarded_agreed", "guarded_overruled", "guarded_unanswered", "guarded_incomparable")
    return {name: gateway.metric("pointsman_gateway_events_total", f'event="{name}"') for name in names}


def _told(events: dict[str, float]) -> str:
    return ", ".join(f"{count:.0f} {name.removeprefix('guarded_')}" for name, count in events.items())


def _added(samples: Sequence[Sample], other: str) -> str:
    """What guarding adds to the latencies: the median of the rounds' own differences."""
    rounds = list(zip(cpu.of(samples, GUARDED), cpu.of(samples, other), strict=True))
    parts = []
    for name in ("p50", "p99"):
        added = sorted(getattr(one.load, name) - getattr(two.load, name) for one, two in rounds)
        parts.append(f"{name} {milliseconds(added[len(added) // 2])} ms")
    return f"added to {other}'s latency, paced: {', '.join(parts)}"
