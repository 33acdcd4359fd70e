"""The whole gateway in front of real model servers: what clients get, and what is read and judged of it.

Two versions of a model are served side by side. Every request passes to the first and is mirrored to the
second. The servers' own answers, asked for directly, are what everything is held against.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import pytest
from sklearn.datasets import load_diabetes, load_iris

from tests.support import model_servers
from tests.support.openai_server import OpenAIServer
from tests.support.processes import Gateway

pytestmark = [pytest.mark.servers, pytest.mark.timeout(600)]

Rows = npt.NDArray[np.float64]
FLOWERS: Rows = load_iris(return_X_y=True)[0]
PATIENTS: Rows = load_diabetes(return_X_y=True)[0]
CLASSES = ["setosa", "versicolor", "virginica"]
JSON = {"content-type": "application/json"}
NO_GUARD = {"vote": {"per": "pair"}, "flips": {"rate": "90%"}}
"""Counts votes, and breaches for nothing that these models do."""


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], int]]:
    with model_servers.started(tmp_path_factory) as port:
        yield port


def _run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(scenario(), 180)

    asyncio.run(bounded())


def _v2(rows: Rows, **more: Any) -> bytes:
    tensor = {"name": "x", "shape": list(rows.shape), "datatype": "FP64", "data": rows.ravel().tolist()}
    return json.dumps({"inputs": [tensor], **more}).encode()


def _v2_binary(rows: Rows) -> tuple[bytes, dict[str, str]]:
    raw = np.ascontiguousarray(rows, dtype="<f8").tobytes()
    tensor = {
        "name": "x", "shape": list(rows.shape), "datatype": "FP64",
        "parameters": {"binary_data_size": len(raw)},
    }  # fmt: skip
    head = json.dumps({"id": "r", "inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    fields = {
        "content-type": "application/octet-stream",
        "inference-header-content-length": str(len(head)),
    }
    return head + raw, fields


def _tensors(answer: httpx.Response) -> dict[str, Rows]:
    """The outputs of a V2 answer, JSON or binary, read as plainly as can be."""
    length = answer.headers.get("inference-header-content-length")
    head = json.loads(answer.content if length is None else answer.content[: int(length)])
    rest = b"" if length is None else answer.content[int(length) :]
    found = {}
    for output in head["outputs"]:
        size = (output.get("parameters") or {}).get("binary_data_size")
        if size is None:
            values = np.array(output["data"], dtype=float)
        else:
            kind = {"FP64": "<f8", "INT64": "<i8"}[output["datatype"]]
            values, rest = np.frombuffer(rest[:size], dtype=kind).astype(float), rest[size:]
        found[output["name"]] = values.reshape(output["shape"])
    return found


async def _ask_all(
    gateway: Gateway, path: str, requests: Sequence[tuple[bytes, Mapping[str, str]]]
) -> list[httpx.Response]:
    """Every request once, each by another user, and wait until all have been judged."""
    before = _measured(await gateway.view())
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{gateway.port}", trust_env=False) as client:
        answers = [
            await client.post(path, content=body, headers={"x-user-id": f"user-{number}", **fields})
            for number, (body, fields) in enumerate(requests)
        ]
    for _ in range(600):
        view = await gateway.view()
        if _measured(view) - before >= len(requests):
            return answers
        await asyncio.sleep(0.05)
    log = gateway.log.read_text()[-3000:]
    raise AssertionError(f"{len(requests)} pairs were not judged: {view['pairs']}\n{log}")


def _measured(view: dict[str, Any]) -> int:
    judged: int = view["pairs"]["judged"]
    return judged


async def _pairs(gateway: Gateway, count: int) -> list[dict[str, Any]]:
    """The latest pairs, in the order in which they were asked for."""
    found = (await gateway.admin.get(f"/api/v1/endpoints/rain/pairs?latest={count}")).json()["pairs"]
    return sorted(found, key=lambda pair: pair["at"])


async def _direct(
    port: int, path: str, requests: Sequence[tuple[bytes, Mapping[str, str]]]
) -> list[httpx.Response]:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        answers = [await client.post(path, content=body, headers=dict(fields)) for body, fields in requests]
    for answer in answers:
        assert answer.status_code == 200, answer.text
    return answers


def _models(port: int, first: str, second: str, **more: Any) -> dict[str, Any]:
    """Two models of one server as incumbent and candidate."""
    url = f"http://127.0.0.1:{port}"
    return {
        "path": "/v2/models/model/infer",
        "protocol": "v2",
        "timeout": "10s",
        "incumbent": {"version": "one", "urls": [url], "path": f"/v2/models/{first}/infer"},
        "candidate": {"version": "two", "urls": [url], "path": f"/v2/models/{second}/infer"},
        "guards": NO_GUARD,
        "plan": [{"mode": "shadow", "pairs": 100_000}],
        **more,
    }


def _gateway(folder: Path, rain: dict[str, Any]) -> Gateway:
    """A gateway whose endpoint has these keys."""
    gateway = Gateway(folder, 1, 1)
    gateway.document["endpoints"]["rain"].update(rain)
    return gateway


def _arms(one: int, two: int) -> dict[str, Any]:
    """An incumbent and a candidate by their ports."""
    return {
        "incumbent": {"version": "one", "urls": [f"http://127.0.0.1:{one}"]},
        "candidate": {"version": "two", "urls": [f"http://127.0.0.1:{two}"]},
    }


def _said(prediction: Any) -> list[dict[str, Any]]:
    """What was read of one answer, row by row."""
    return prediction if isinstance(prediction, list) else [prediction]


def _agree(shown: list[dict[str, Any]], arm: str, probabilities: Sequence[Rows]) -> None:
    """Every class and confidence that was read is the one that the server gave."""
    for pair, expected in zip(shown, probabilities, strict=True):
        for row, chances in zip(_said(pair[arm]["prediction"]), expected, strict=False):
            assert row["label"] == CLASSES[int(chances.argmax())]
            assert row["confidence"] == pytest.approx(chances.max(), abs=1e-12)


def _classification(output: str = "predict_proba") -> dict[str, Any]:
    return {"kind": "classification", "output": output, "labels": CLASSES}


BOTH = {"outputs": [{"name": "predict"}, {"name": "predict_proba"}]}


def test_flowers_through_mlserver_are_served_read_and_compared(
    tmp_path: Path, ports: Callable[[str], int]
) -> None:
    port = ports("mlserver")
    requests = [(_v2(row[np.newaxis], **BOTH), JSON) for row in FLOWERS]

    async def scenario() -> None:
        one = [_tensors(a)["predict_proba"] for a in await _direct(port, "/v2/models/iris-1/infer", requests)]
        two = [_tensors(a)["predict_proba"] for a in await _direct(port, "/v2/models/iris-2/infer", requests)]
        rain = _models(port, "iris-1", "iris-2", compare=_classification())
        async with _gateway(tmp_path, rain) as gateway:
            answers = await _ask_all(gateway, rain["path"], requests)
            assert {answer.status_code for answer in answers} == {200}
            assert {answer.headers["x-pointsman-arm"] for answer in answers} == {"incumbent"}
            for answer, expected in zip(answers, one, strict=True):
                assert _tensors(answer)["predict_proba"] == pytest.approx(expected, abs=1e-12)
            shown = await _pairs(gateway, len(requests))
            view = await gateway.view()
        _agree(shown, "incumbent", one)
        _agree(shown, "candidate", two)
        distances = [0.5 * np.abs(a - b).sum() for a, b in zip(one, two, strict=True)]
        assert [pair["score"] for pair in shown] == pytest.approx(distances, abs=1e-9)
        flips = [bool(a.argmax() != b.argmax()) for a, b in zip(one, two, strict=True)]
        assert [pair["flip"] for pair in shown] == flips
        assert 0 < sum(flips) < len(flips) / 2, "the second model is another one, but no stranger"
        assert view["pairs"] == view["pairs"] | {"judged": len(requests), "flips": sum(flips), "faults": 0}

    _run(scenario)


def test_a_compressed_batch_of_mlserver_is_passed_on_compressed_and_read(
    tmp_path: Path, ports: Callable[[str], int]
) -> None:
    port = ports("mlserver")
    batches = [FLOWERS[at : at + 10] for at in range(0, 150, 10)]
    requests = [(_v2(batch, **BOTH), {**JSON, "accept-encoding": "gzip"}) for batch in batches]

    async def scenario() -> None:
        one = [_tensors(a)["predict_proba"] for a in await _direct(port, "/v2/models/iris-1/infer", requests)]
        two = [_tensors(a)["predict_proba"] for a in await _direct(port, "/v2/models/iris-2/infer", requests)]
        rain = _models(port, "iris-1", "iris-2", compare=_classification())
        async with _gateway(tmp_path, rain) as gateway:
            answers = await _ask_all(gateway, rain["path"], requests)
            assert {answer.headers["content-encoding"] for answer in answers} == {"gzip"}
            shown = await _pairs(gateway, len(requests))
        _agree(shown, "incumbent", one)
        _agree(shown, "candidate", two)
        distances = [0.5 * np.abs(a - b).sum(axis=1).mean() for a, b in zip(one, two, strict=True)]
        assert [pair["score"] for pair in shown] == pytest.approx(distances, abs=1e-9)
        changed = [bool((a.argmax(axis=1) != b.argmax(axis=1)).any()) for a, b in zip(one, two, strict=True)]
        assert [pair["flip"] for pair in shown] == changed

    _run(scenario)


def test_binary_tensors_pass_through_to_kserve_and_are_read(
    tmp_path: Path, ports: Callable[[str], int]
) -> None:
    port = ports("kserve")
    requests = [_v2_binary(FLOWERS[at : at + 3]) for at in range(0, 150, 3)]

    async def scenario() -> None:
        direct = await _direct(port, "/v2/models/iris-1/infer", requests)
        one = [_tensors(answer)["predict_proba"] for answer in direct]
        two = [_tensors(a)["predict_proba"] for a in await _direct(port, "/v2/models/iris-2/infer", requests)]
        rain = _models(port, "iris-1", "iris-2", compare=_classification())
        async with _gateway(tmp_path, rain) as gateway:
            answers = await _ask_all(gateway, rain["path"], requests)
            for answer, expected in zip(answers, direct, strict=True):
                assert answer.content == expected.content
                name = "inference-header-content-length"
                assert answer.headers[name] == expected.headers[name]
                assert answer.headers.get("content-type") == expected.headers.get("content-type")
            shown = await _pairs(gateway, len(requests))
        _agree(shown, "incumbent", one)
        _agree(shown, "candidate", two)
        distances = [0.5 * np.abs(a - b).sum(axis=1).mean() for a, b in zip(one, two, strict=True)]
        assert [pair["score"] for pair in shown] == pytest.approx(distances, abs=1e-9)

    _run(scenario)


def test_a_binary_answer_and_a_json_answer_of_the_same_model_are_the_same_prediction(
    tmp_path: Path, ports: Callable[[str], int]
) -> None:
    """MLServer answers JSON, KServe what it is asked for: two servers, one model, no difference."""
    incumbent, candidate = ports("mlserver"), ports("kserve")
    requests = [
        (_v2(row[np.newaxis], parameters={"binary_data_output": True}, **BOTH), JSON) for row in FLOWERS[::5]
    ]
    path = "/v2/models/iris-1/infer"

    async def scenario() -> None:
        (binary, *_) = await _direct(candidate, path, requests[:1])
        assert "inference-header-content-length" in binary.headers
        (written, *_) = await _direct(incumbent, path, requests[:1])
        assert "inference-header-content-length" not in written.headers
        rain = _models(incumbent, "iris-1", "iris-1", compare=_classification())
        rain["candidate"]["urls"] = [f"http://127.0.0.1:{candidate}"]
        async with _gateway(tmp_path, rain) as gateway:
            await _ask_all(gateway, rain["path"], requests)
            shown = await _pairs(gateway, len(requests))
        assert [pair["score"] for pair in shown] == pytest.approx([0.0] * len(requests), abs=1e-9)
        assert not any(pair["flip"] for pair in shown)

    _run(scenario)


def test_a_candidate_that_cannot_read_the_request_is_an_error_of_the_candidate(
    tmp_path: Path, ports: Callable[[str], int]
) -> None:
    """MLServer answers 500 to binary tensors, which KServe reads."""
    incumbent, candidate = ports("kserve"), ports("mlserver")
    requests = [_v2_binary(FLOWERS[at : at + 1]) for at in range(20)]

    async def scenario() -> None:
        rain = _models(incumbent, "iris-1", "iris-1", compare=_classification())
        rain["candidate"]["urls"] = [f"http://127.0.0.1:{candidate}"]
        rain["guards"] = {
            "vote": {"per": "pair"},
            "errors": {"excess": "1%"},
            "breaker": {"consecutive_errors": 100},
        }
        async with _gateway(tmp_path, rain) as gateway:
            async with httpx.AsyncClient(
                base_url=f"http://127.0.0.1:{gateway.port}", trust_env=False
            ) as client:
                for number, (body, fields) in enumerate(requests):
                    answer = await client.post(
                        rain["path"], content=body, headers={"x-user-id": f"u{number}", **fields}
                    )
                    assert answer.status_code == 200, "no client sees the candidate's 500"
            for _ in range(600):
                view = await gateway.view()
                if view["switch"]["tripped"]:
                    break
                await asyncio.sleep(0.05)
            assert view["last_trip"]["cause"] == "guard:errors"

    _run(scenario)


def test_patients_through_mlflow_are_served_read_and_compared(
    tmp_path: Path, ports: Callable[[str], int]
) -> None:
    first, second = ports("mlflow diabetes-1"), ports("mlflow diabetes-2")
    requests = [
        (json.dumps({"inputs": PATIENTS[at : at + 2].tolist()}).encode(), JSON) for at in range(0, 160, 2)
    ]
    requests += [
        (json.dumps({"instances": PATIENTS[at : at + 1].tolist()}).encode(), JSON) for at in range(200, 220)
    ]
    scale, tolerance = 100.0, 0.1

    async def scenario() -> None:
        one, two = [
            [
                np.array(answer.json()["predictions"])
                for answer in await _direct(port, "/invocations", requests)
            ]
            for port in (first, second)
        ]
        rain = _arms(first, second) | {
            "path": "/invocations", "protocol": "mlflow", "timeout": "10s", "guards": NO_GUARD,
            "compare": {"kind": "regression", "scale": scale, "tolerance": tolerance},
            "plan": [{"mode": "shadow", "pairs": 100_000}],
        }  # fmt: skip
        async with _gateway(tmp_path, rain) as gateway:
            answers = await _ask_all(gateway, "/invocations", requests)
            for answer, expected in zip(answers, one, strict=True):
                assert answer.json()["predictions"] == expected.tolist()
            shown = await _pairs(gateway, len(requests))
        distances = [np.abs(a - b) / scale for a, b in zip(one, two, strict=True)]
        assert [pair["score"] for pair in shown] == pytest.approx([d.mean() for d in distances], abs=1e-9)
        flips = [bool((d > tolerance).any()) for d in distances]
        assert [pair["flip"] for pair in shown] == flips
        assert 0 < sum(flips) < len(flips)

    _run(scenario)


def test_an_answer_that_streams_is_joined_and_compared_as_text(tmp_path: Path) -> None:
    asked = {"model": "m", "messages": [{"role": "user", "content": "and today?"}], "stream": True}
    requests = [(json.dumps(asked).encode(), JSON)] * 20

    async def scenario() -> None:
        async with (
            OpenAIServer("one", "It rains all day long in Cologne") as one,
            OpenAIServer("two", "It rains all day long in Cologne") as two,
        ):
            rain = _arms(one.port, two.port) | {
                "path": "/v1/chat/completions", "protocol": "openai", "timeout": "10s", "guards": NO_GUARD,
                "compare": {"kind": "text"}, "plan": [{"mode": "shadow", "pairs": 100_000}],
            }  # fmt: skip
            async with _gateway(tmp_path, rain) as gateway:
                answers = await _ask_all(gateway, "/v1/chat/completions", requests)
                for answer in answers:
                    assert answer.headers["content-type"].startswith("text/event-stream")
                    assert answer.text.endswith("data: [DONE]\n\n")
                same = await _pairs(gateway, len(requests))
                assert not any(pair["flip"] or pair["score"] for pair in same), "other ids, the same text"
                two.says = "Nobody knows"
                await _ask_all(gateway, "/v1/chat/completions", requests)
                other = await _pairs(gateway, 20)
                assert all(pair["flip"] for pair in other)
                assert all(0.5 < pair["score"] <= 1 for pair in other)

    _run(scenario)


def test_a_streamed_tool_call_is_compared_by_its_arguments(tmp_path: Path) -> None:
    tool = {"type": "function", "function": {"name": "get_weather", "parameters": {}}}
    asked = {"model": "m", "messages": [], "stream": True, "tools": [tool]}
    requests = [(json.dumps(asked).encode(), JSON)] * 10

    async def scenario() -> None:
        here = {"city": "Cologne", "days": 3}
        async with (
            OpenAIServer("one", "", calls=("get_weather", here)) as one,
            OpenAIServer("two", "", calls=("get_weather", dict(reversed(here.items())))) as two,
        ):
            rain = _arms(one.port, two.port) | {
                "path": "/v1/chat/completions", "protocol": "openai", "timeout": "10s", "guards": NO_GUARD,
                "compare": {"kind": "json"}, "plan": [{"mode": "shadow", "pairs": 100_000}],
            }  # fmt: skip
            async with _gateway(tmp_path, rain) as gateway:
                await _ask_all(gateway, "/v1/chat/completions", requests)
                same = await _pairs(gateway, len(requests))
                assert not any(pair["flip"] for pair in same), "the order of the arguments means nothing"
                two.calls = ("get_weather", here | {"city": "Paris"})
                await _ask_all(gateway, "/v1/chat/completions", requests)
                other = await _pairs(gateway, 10)
                assert all(pair["score"] > 0 for pair in other)

    _run(scenario)
