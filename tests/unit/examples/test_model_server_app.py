"""The server's routes over HTTP, and its feature pipeline while it is replaced."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import numpy
import pytest
from numpy.typing import NDArray

from examples.model_server.app import ModelServer
from examples.model_server.pipeline import Pipeline, PipelineError, PipelineFile

FEATURES = ("temperature", "dew point")


class SignOfTheSum:
    """A classifier that is easy to check: certain of 1 when the normalised features sum to more than 0."""

    def __init__(self) -> None:
        self.classes_: NDArray[numpy.int64] = numpy.array([0, 1])

    def predict_proba(self, rows: NDArray[numpy.float64], /) -> NDArray[numpy.float64]:
        wet = (rows[:, :2].sum(axis=1) > 0).astype(numpy.float64)
        return numpy.stack([1 - wet, wet], axis=1)


def pipeline(mean: float, revision: str) -> Pipeline:
    return Pipeline(FEATURES, numpy.full(2, mean), numpy.ones(2), revision)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "pipeline.json"
    pipeline(0.0, "first").write(path)
    return path


@pytest.fixture
def server(path: Path) -> ModelServer:
    return ModelServer(SignOfTheSum(), PipelineFile(path), "rain", "rain-1")


def ask(server: ModelServer, method: str, route: str, content: bytes = b"") -> httpx.Response:
    async def once() -> httpx.Response:
        async with server.listening("127.0.0.1", 0) as port, httpx.AsyncClient() as client:
            return await client.request(method, f"http://127.0.0.1:{port}{route}", content=content)

    return asyncio.run(once())


ROW = b'{"inputs":[{"name":"features","datatype":"FP64","shape":[1,2],"data":[1,1]}]}'


@pytest.mark.parametrize(
    "route", ["/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/rain", "/v2/models/rain/ready"]
)
def test_health_and_metadata_are_answered(server: ModelServer, route: str) -> None:
    assert ask(server, "GET", route).status_code == 200
    head = ask(server, "HEAD", route)
    assert (head.status_code, head.content) == (200, b"")
    refused = ask(server, "DELETE", route)
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")


def test_inference_answers_what_the_classifier_says_of_the_normalised_row(server: ModelServer) -> None:
    answer = ask(server, "POST", "/v2/models/rain/infer", ROW)
    assert answer.status_code == 200
    assert answer.json()["outputs"][1]["data"] == [0.0, 1.0]
    assert answer.headers["content-type"] == "application/json"


def test_faults_are_v2_error_objects(server: ModelServer) -> None:
    for method, route, content, status in (
        ("POST", "/v2/models/rain/infer", b"{", 400),
        ("GET", "/v2/models/rain/infer", b"", 405),
        ("POST", "/v2/models/snow/infer", ROW, 404),
        ("POST", "/v2/models/rain/infer", bytes(9 * 1024 * 1024), 413),
    ):
        answer = ask(server, method, route, content)
        assert answer.status_code == status
        assert list(answer.json()) == ["error"]


def test_a_replaced_pipeline_changes_the_prediction_and_nothing_else(path: Path) -> None:
    file = PipelineFile(path)
    server = ModelServer(SignOfTheSum(), file, "rain", "rain-1")
    before = ask(server, "POST", "/v2/models/rain/infer", ROW)
    assert not file.refresh()
    pipeline(5.0, "second").write(path)
    assert file.refresh()
    after = ask(server, "POST", "/v2/models/rain/infer", ROW)
    assert after.status_code == before.status_code == 200
    assert after.headers == before.headers
    assert before.json()["outputs"][1]["data"] == [0.0, 1.0]
    assert after.json()["outputs"][1]["data"] == [1.0, 0.0]


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"{}",
        b'{"features":["temperature","dew point"],"mean":[0],"scale":[1,1],"revision":"x"}',
        b'{"features":["temperature","dew point"],"mean":[0,0],"scale":[1,0],"revision":"x"}',
        b'{"features":["temperature","rain"],"mean":[0,0],"scale":[1,1],"revision":"x"}',
    ],
)
def test_a_bad_pipeline_is_refused_once_and_the_old_one_stays(path: Path, content: bytes) -> None:
    file = PipelineFile(path)
    path.write_bytes(content)
    with pytest.raises(PipelineError, match=r"pipeline\.json"):
        file.refresh()
    assert file.current.revision == "first"
    assert not file.refresh()


def test_a_pipeline_that_vanishes_for_a_moment_stays_in_use(path: Path) -> None:
    file = PipelineFile(path)
    path.unlink()
    assert not file.refresh()
    pipeline(1.0, "second").write(path)
    assert file.refresh()


def test_what_is_written_is_read_back_and_a_constant_feature_does_no_harm(path: Path) -> None:
    fitted = Pipeline.fit(FEATURES, numpy.array([[1.0, 7.0], [3.0, 7.0]]), "fitted")
    fitted.write(path)
    read = Pipeline.read(path)
    assert read.mean.tolist() == [2.0, 7.0]
    assert read.scale.tolist() == [1.0, 1.0]
    assert read.transform(numpy.array([[4.0, 10.0]])).tolist() == [[2.0, 3.0, 4.0, 6.0, 9.0]]
