"""Executing the gates of an endpoint, one after the other, and binding what they find to what was measured.

All of them are executed even when the first one fails, so that an operator sees everything that is wrong at
once. One after the other, because the memory of a server under load and its latency would disturb each other.
A gate that cannot be executed, for whatever reason, is an ERROR, and an ERROR is no PASS.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from domain.errors import GateError
from domain.lineage import Lineage
from domain.reference import Reference
from domain.verdict import Verdict
from gates.checks.custom import Custom
from gates.checks.drift import Drift
from gates.checks.evaluation import Evaluation
from gates.checks.latency import Latency
from gates.checks.lineage import LineageComplete
from gates.checks.memory import Memory
from gates.checks.schema import Schema
from gates.files import Files
from gates.gate import Gate, GateContext, LineageOf
from gates.result import Binding, GateResult, Judgement, version_digest
from gates.server import ModelServer
from registry.catalog import Catalog
from settings.criteria import GateSettings
from settings.schema import EndpointSettings, Settings


def registered(settings: Settings, environment: Mapping[str, str]) -> LineageOf:
    """Asks the registries that `settings` name; secrets come from `environment`."""

    async def lineage(references: Sequence[Reference]) -> Lineage:
        catalog = Catalog.open(settings.registry, environment)
        try:
            return (await catalog.lookup(references)).record
        finally:
            await catalog.close()

    return lineage


def gates_of(settings: GateSettings) -> tuple[Gate, ...]:
    """The gates that are configured, in the order of what they cost."""
    found: list[Gate] = []
    if settings.lineage is not None:
        found.append(LineageComplete(settings.lineage))
    if settings.schema is not None:
        found.append(Schema(settings.schema))
    if settings.drift is not None:
        found.append(Drift(settings.drift))
    if settings.evaluation is not None:
        found.append(Evaluation(settings.evaluation))
    if settings.latency is not None:
        found.append(Latency(settings.latency))
    if settings.memory is not None:
        found.append(Memory(settings.memory))
    return (*found, *map(Custom, settings.custom))


def demand(endpoint: EndpointSettings) -> None:
    """Raises GateError when there is nothing to execute gates on, or nothing to execute."""
    demand_two(endpoint)
    if not endpoint.gates.configured:
        name = endpoint.name
        raise GateError(f"endpoint {name} has no gates; configure some in endpoints.{name}.gates")


def demand_two(endpoint: EndpointSettings) -> None:
    """Raises GateError when there is no candidate, or when it is the incumbent by another name."""
    candidate, name = endpoint.candidate, endpoint.name
    if candidate is None:
        raise GateError(f"endpoint {name} has no candidate; name one in endpoints.{name}.candidate")
    incumbent = endpoint.incumbent
    asked = [(one.upstreams, one.path or endpoint.path) for one in (incumbent, candidate)]
    if asked[0] == asked[1]:
        raise GateError(
            f"candidate {candidate.name} is asked at the very URLs of incumbent {incumbent.name}: "
            "it would be held against itself"
        )


async def run(
    settings: Settings,
    endpoint: EndpointSettings,
    clock: Callable[[], float],
    lineage: LineageOf,
    begun: Callable[[str], None] = lambda gate: None,
) -> tuple[GateResult, ...]:
    """Execute the gates of `endpoint`, one of `settings`; a result each.

    `clock` is the wall clock; `lineage` asks the registries; `begun` hears the name of each gate before it
    is executed. Raises GateError when nothing can be executed at all: no candidate, no gates, a candidate
    that is the incumbent.
    """
    demand(endpoint)
    found = []
    async with AsyncExitStack() as stack:
        versions = [one for one in (endpoint.incumbent, endpoint.candidate) if one is not None]
        incumbent, candidate = [
            await stack.enter_async_context(ModelServer(one, endpoint.path, endpoint.timeout))
            for one in versions
        ]
        for gate in gates_of(endpoint.gates):
            begun(gate.name)
            files = Files()
            context = GateContext(endpoint, incumbent, candidate, files, clock, lineage)
            started = clock()
            judged = await _execute(gate, context)
            bound = binding(settings, endpoint, files.read_so_far)
            found.append(
                GateResult(
                    gate.name, judged.verdict, judged.sentence, judged.numbers, bound, started, clock()
                )
            )
    return tuple(found)


def binding(settings: Settings, endpoint: EndpointSettings, data: Sequence[tuple[str, str]] = ()) -> Binding:
    """What a result is about that is made now, with the files `data` by path and digest."""
    candidate = endpoint.candidate
    return Binding(
        endpoint.name,
        version_digest(endpoint.incumbent, endpoint.path),
        "" if candidate is None else version_digest(candidate, endpoint.path),
        settings.digest,
        tuple(sorted(data)),
    )


def digests(paths: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """(path, SHA-256) of files as they are now; "" for one that cannot be read, which fits no result."""
    found = []
    for path in paths:
        try:
            with Path(path).open("rb") as file:
                found.append((path, hashlib.file_digest(file, "sha256").hexdigest()))
        except OSError:
            found.append((path, ""))
    return tuple(sorted(found))


async def _execute(gate: Gate, context: GateContext) -> Judgement:
    try:
        return await gate.run(context)
    except GateError as error:
        return Judgement(Verdict.ERROR, str(error))
    except Exception as error:
        # Whatever else goes wrong with a measurement, it is none: told as what it is, and no PASS.
        return Judgement(Verdict.ERROR, f"this should not have happened: {type(error).__name__}: {error}")
