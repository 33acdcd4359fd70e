"""Two real model servers on loopback, and an endpoint whose gates are executed against them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy
import orjson
from numpy.typing import NDArray

from examples.model_server.app import ModelServer as V2Server
from examples.model_server.http import Answer, Exchanges
from examples.model_server.pipeline import Pipeline, PipelineFile
from gates.files import Files
from gates.gate import GateContext
from gates.runner import registered
from gates.server import ModelServer
from settings.parse import parse
from settings.schema import Settings

T = TypeVar("T")

FEATURES = ("warm", "wet")
PATH = "/v2/models/rain/infer"
NOW = 1_800_000_000.0


class Wet:
    """Says 1 with a probability that rises with "wet" plus `bias`; of every `wrong`-th row the opposite."""

    def __init__(self, bias: float = 0.0, wrong: int = 0) -> None:
        self.classes_: NDArray[numpy.int64] = numpy.array([0, 1])
        self._bias = bias
        self._wrong = wrong

    def predict_proba(self, rows: NDArray[numpy.float64], /) -> NDArray[numpy.float64]:
        wet = 1 / (1 + numpy.exp(-4 * (rows[:, 1] + self._bias)))
        if self._wrong:
            odd = (rows[:, 0] * 1000).astype(numpy.int64) % self._wrong == 0
            wet = numpy.where(odd, 1 - wet, wet)
        return numpy.stack([1 - wet, wet], axis=1)


def held_out(path: Path, rows: int, seed: int = 7) -> Path:
    """A CSV file with both features and the truth in column `y`, which is 1 where "wet" is above 0."""
    draw = numpy.random.default_rng(seed)
    values = draw.normal(size=(rows, 2))
    lines = ["warm,wet,y", *(f"{warm:.3f},{wet:.3f},{int(wet > 0)}" for warm, wet in values)]
    path.write_text("\n".join(lines) + "\n")
    return path


def settings_of(
    incumbent: int, candidate: int, gates: Mapping[str, Any], /, registry: str | None = None, **endpoint: Any
) -> Settings:
    """The configuration of endpoint rain, with its arms on these ports of 127.0.0.1."""
    document: dict[str, Any] = {
        "path": PATH,
        "protocol": "v2",
        "unit": "request",
        "incumbent": {"version": "rain-1", "urls": [f"http://127.0.0.1:{incumbent}"]},
        "candidate": {"version": "rain-2", "urls": [f"http://127.0.0.1:{candidate}"]},
        "compare": {"kind": "classification", "output": "predict_proba"},
        "gates": dict(gates),
        **endpoint,
    }
    more = {} if registry is None else {"registry": {"source": "file", "path": registry}}
    return parse({"endpoints": {"rain": document}, **more})


@asynccontextmanager
async def v2(folder: Path, classifier: Wet, features: Sequence[str] = FEATURES) -> AsyncIterator[int]:
    """A V2 model server of the examples; its port."""
    file = folder / f"pipeline-{id(classifier)}.json"
    width = len(features)
    Pipeline(tuple(features), numpy.zeros(width), numpy.ones(width), "test").write(file)
    server = V2Server(classifier, PipelineFile(file), "rain", "1")
    async with server.listening("127.0.0.1", 0) as port:
        yield port


@asynccontextmanager
async def answering(respond: Callable[[str, str, bytes], Answer]) -> AsyncIterator[int]:
    """A server that answers with `respond(method, path, body)`; its port."""
    exchanges = Exchanges(respond, lambda reason: orjson.dumps({"error": reason}))
    server = await asyncio.start_server(exchanges.serve, "127.0.0.1", 0)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()


@asynccontextmanager
async def context_of(settings: Settings) -> AsyncIterator[GateContext]:
    """What a gate works with."""
    endpoint = settings.endpoints[0]
    assert endpoint.candidate is not None
    async with AsyncExitStack() as stack:
        incumbent, candidate = [
            await stack.enter_async_context(ModelServer(one, endpoint.path, endpoint.timeout))
            for one in (endpoint.incumbent, endpoint.candidate)
        ]
        yield GateContext(endpoint, incumbent, candidate, Files(), lambda: NOW, registered(settings, {}))


async def on_trial(
    folder: Path,
    candidate: Wet,
    gates: Mapping[str, Any],
    work: Callable[[GateContext], Awaitable[T]],
    **endpoint: Any,
) -> T:
    """What `work` answers with the gates of an endpoint whose incumbent is flawless."""
    async with (
        v2(folder, Wet()) as trusted,
        v2(folder, candidate) as tried,
        context_of(settings_of(trusted, tried, gates, **endpoint)) as context,
    ):
        return await work(context)


def lines(path: Path, documents: Iterable[object]) -> Path:
    """A file with one JSON document a line."""
    path.write_text("".join(json.dumps(one) + "\n" for one in documents))
    return path
