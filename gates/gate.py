"""What a promotion gate is, and what it works with."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from domain.lineage import Lineage
from domain.reference import Reference
from gates.files import Files
from gates.result import Judgement
from gates.server import ModelServer
from settings.schema import EndpointSettings

T = TypeVar("T")

LineageOf = Callable[[Sequence[Reference]], Awaitable[Lineage]]
"""What a version was made of, by its references. Raises LineageUnknown when there is no record,
StateUnavailable and ConfigError when it cannot be asked for."""


@dataclass(frozen=True, slots=True)
class GateContext:
    """What is on trial, and the world around it. `clock` is the wall clock, `lineage` asks the registries."""

    endpoint: EndpointSettings
    incumbent: ModelServer
    candidate: ModelServer
    files: Files
    clock: Callable[[], float]
    lineage: LineageOf

    async def aside(self, work: Callable[[], T]) -> T:
        """`work` in a thread: what reads files or computes must not hold up the loop's timetable."""
        return await asyncio.to_thread(work)


class Gate(Protocol):
    """A criterion that is executed before a release may take a step."""

    @property
    def name(self) -> str:
        """What its results are called."""
        ...

    async def run(self, context: GateContext) -> Judgement:
        """Measure, and judge. Raises GateError when it cannot be measured, which is an ERROR."""
        ...
