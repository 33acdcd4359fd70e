"""The server: V2's health, metadata and inference routes for one model behind its feature pipeline."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Protocol

import numpy
import orjson
from numpy.typing import NDArray

from examples.model_server.http import MAX_HEAD, Answer, Exchanges
from examples.model_server.pipeline import PipelineError, PipelineFile
from examples.model_server.protocol import OUTPUTS, BadRequestError, read_request, write_answer, write_error
from shadow.tasks import Tasks

REFRESH_SECONDS = 0.05

log = logging.getLogger("model_server")


class Classifier(Protocol):
    """What is asked of a scikit-learn classifier."""

    classes_: NDArray[numpy.int64]

    def predict_proba(self, rows: NDArray[numpy.float64], /) -> NDArray[numpy.float64]: ...


class ModelServer:
    """One classifier behind its feature pipeline."""

    def __init__(self, classifier: Classifier, pipeline: PipelineFile, name: str, version: str) -> None:
        self._classifier = classifier
        self._pipeline = pipeline
        self._name = name
        self._version = version
        self._infer_path = f"/v2/models/{name}/infer"
        self._documents = self._describe()

    def _describe(self) -> dict[str, bytes]:
        width = len(self._pipeline.current.features)
        model = {
            "name": self._name,
            "versions": [self._version],
            "platform": "sklearn",
            "inputs": [{"name": "features", "datatype": "FP64", "shape": [-1, width]}],
            "outputs": [
                {"name": OUTPUTS[0], "datatype": "INT64", "shape": [-1]},
                {"name": OUTPUTS[1], "datatype": "FP64", "shape": [-1, len(self._classifier.classes_)]},
            ],
        }
        return {
            "/v2": orjson.dumps({"name": "pointsman-example-model-server", "version": "1", "extensions": []}),
            "/v2/health/live": b'{"live":true}',
            "/v2/health/ready": b'{"ready":true}',
            f"/v2/models/{self._name}": orjson.dumps(model),
            f"/v2/models/{self._name}/ready": orjson.dumps({"name": self._name, "ready": True}),
        }

    def infer(self, body: bytes) -> Answer:
        """Predict the rows of a V2 request."""
        pipeline = self._pipeline.current
        try:
            request = read_request(body, pipeline.features)
        except BadRequestError as error:
            return Answer(400, write_error(str(error)))
        probabilities = self._classifier.predict_proba(pipeline.transform(request.rows))
        content = write_answer(request, self._name, self._version, probabilities, self._classifier.classes_)
        return Answer(200, content)

    def answer(self, method: str, path: str, body: bytes) -> Answer:
        """The whole routing table."""
        if path == self._infer_path:
            if method != "POST":
                return Answer(405, write_error(f"{method} is not allowed on {path}; use POST"), allow="POST")
            return self.infer(body)
        document = self._documents.get(path.rstrip("/"))
        if document is None:
            return Answer(404, write_error(f"nothing is served at {path}; the model here is {self._name!r}"))
        if method not in ("GET", "HEAD"):
            return Answer(405, write_error(f"{method} is not allowed on {path}; use GET"), allow="GET, HEAD")
        return Answer(200, document)

    def warm(self) -> None:
        """The first prediction imports and allocates: no client should have to wait for it."""
        width = len(self._pipeline.current.features)
        self._classifier.predict_proba(self._pipeline.current.transform(numpy.zeros((1, width))))

    @contextlib.asynccontextmanager
    async def listening(self, host: str, port: int) -> AsyncIterator[int]:
        """Serve on `host:port` while inside; gives the port. Raises OSError when it cannot be had."""
        tasks = Tasks(lambda name, error: log.error("%s ended: %r", name, error))
        exchanges = Exchanges(self.answer, write_error)
        server = await asyncio.start_server(exchanges.serve, host, port, limit=MAX_HEAD, backlog=1024)
        tasks.spawn(self._refresh_for_ever(), "watch the feature pipeline")
        try:
            yield int(server.sockets[0].getsockname()[1])
        finally:
            server.close()
            await tasks.cancel()

    async def _refresh_for_ever(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            try:
                if self._pipeline.refresh():
                    log.info("feature pipeline reloaded: %s", self._pipeline.current.revision)
            except PipelineError as error:
                log.error("feature pipeline refused, the old one stays: %s", error)
