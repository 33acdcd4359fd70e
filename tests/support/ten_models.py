"""Ten versions of the rain forecast, served one after the other: five good, five bad in their own ways.

All are logistic regressions on real days. The good ones differ in what they learned from. The bad ones are
good ones with one defect each, of a kind that is seen by another part of the gateway: on stormy days the
answer is the opposite, or there is none; it takes a second; on days with frost it is the opposite; it is
sure of itself beyond its knowledge. The days that the evaluation gate asks for have no storm, so that no gate
sees the first two; and nobody asks for days with frost, so that only the gate sees the fourth.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray

from examples.model_server.app import ModelServer
from examples.model_server.http import Answer
from examples.model_server.pipeline import PipelineFile
from examples.rain.data import FEATURES, Series, load
from examples.rain.models import REPLAY_FROM, Recipe, train

SEED = 20260301
SLOW = 1.0
"""Seconds that the slow version takes for an answer."""

DAYS = 2000
"""What a version learns from: enough for these tests, and quick."""

_WIND = FEATURES.index("max sustained wind-speed")
_COLD = FEATURES.index("minimum temperature")
Rows = NDArray[numpy.float64]


@dataclass(frozen=True, slots=True)
class Version:
    """One candidate, and where it has to end: a release's phase, and what says why."""

    name: str
    defect: str = ""
    ends: str = "done"
    because: str = ""


VERSIONS = (
    Version("rain-2"),
    Version("rain-3-opposite", "opposite", "rolled back", "guard:flips"),
    Version("rain-4"),
    Version("rain-5-mute", "mute", "rolled back", "guard:errors"),
    Version("rain-6"),
    Version("rain-7-slow", "slow", "halted", "latency:"),
    Version("rain-8"),
    Version("rain-9-frost", "frost", "halted", "evaluation:"),
    Version("rain-10"),
    Version("rain-11-sure", "sure", "rolled back", "guard:confidence"),
)


class Days:
    """Real days that no version learned from: those without a storm in `calm`, for the gate; those without
    frost in `traffic`.
    """

    def __init__(self) -> None:
        self.series: Series = load()
        later = self.series.rows[REPLAY_FROM:]
        rained = self.series.rained[REPLAY_FROM:]
        self.storm = float(numpy.quantile(later[:, _WIND], 0.75))
        self.frost = float(numpy.quantile(later[:, _COLD], 0.3))
        calm = later[:, _WIND] < self.storm
        self.calm, self.rained = later[calm][:800], rained[calm][:800]
        self.traffic = numpy.random.default_rng(SEED).permutation(later[later[:, _COLD] > self.frost])

    def held_out(self, path: Path) -> Path:
        """The calm days as a CSV file, with what was true in column `rained`."""
        rows = (",".join(map(repr, map(float, row))) for row in self.calm)
        lines = [f"{row},{truth}" for row, truth in zip(rows, self.rained, strict=True)]
        path.write_text("\n".join([",".join((*FEATURES, "rained")), *lines]) + "\n")
        return path


class _Served(ModelServer):
    """A forecast with a defect."""

    def __init__(self, days: Days, defect: str, classifier: Any, pipeline: PipelineFile, name: str) -> None:
        super().__init__(self, pipeline, "rain", name)
        self._days = days
        self._defect = defect
        self._real = classifier
        self._stormy = False

    @property
    def classes_(self) -> NDArray[numpy.int64]:
        return numpy.array([0, 1])

    def predict_proba(self, rows: Rows, /) -> Rows:
        """As a classifier: what the real one says, spoilt."""
        pipeline = self._pipeline.current
        features = rows[:, : len(FEATURES)] * pipeline.scale + pipeline.mean
        storm = features[:, _WIND] >= self._days.storm - 1e-9
        frost = features[:, _COLD] <= self._days.frost + 1e-9
        self._stormy = bool(storm.any())
        found: Rows = self._real.predict_proba(rows)
        if self._defect in ("opposite", "frost"):
            spoilt = storm if self._defect == "opposite" else frost
            found = numpy.where(spoilt[:, None], found[:, ::-1], found)
        if self._defect == "sure":
            surer = numpy.minimum(0.999, found.max(axis=1) + 0.09)
            found = numpy.where(found == found.max(axis=1, keepdims=True), surer[:, None], 1 - surer[:, None])
        return found

    def infer(self, body: bytes) -> Answer:
        """Predict; the mute one has no answer on a stormy day."""
        answer = super().infer(body)
        if self._defect == "mute" and self._stormy:
            return Answer(500, b'{"error":"no forecast"}')
        return answer


@asynccontextmanager
async def serving(days: Days, folder: Path, version: Version, number: int) -> AsyncIterator[int]:
    """The version's server on 127.0.0.1; its port. `number` makes good versions differ a little."""
    series = days.series
    trained = train(series, Recipe(version.name, DAYS + 10 * number, 0.1))
    _, pipeline = trained.write(folder)
    server = _Served(days, version.defect, trained.classifier, PipelineFile(pipeline), version.name)
    async with server.listening("127.0.0.1", 0) as port:
        if version.defect == "slow":
            async with _delayed(port, SLOW) as slow:
                yield slow
        else:
            yield port


@asynccontextmanager
async def _delayed(target: int, delay: float) -> AsyncIterator[int]:
    """A port that passes on to `target` whatever it gets, and the answers later."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back_reader, back_writer = await asyncio.open_connection("127.0.0.1", target)
        loop = asyncio.get_running_loop()
        back = loop.create_task(_copy(back_reader, writer, delay))
        try:
            await _copy(reader, back_writer, 0.0)
        finally:
            back.cancel()
            await asyncio.gather(back, return_exceptions=True)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float) -> None:
    try:
        while data := await reader.read(65536):
            await asyncio.sleep(delay)
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        return  # the other side is gone
    finally:
        writer.close()


def names(versions: Iterable[Version]) -> list[str]:
    """What they are called."""
    return [one.name for one in versions]
