"""A live gateway with everything that the console shows: models, traffic, a release, a trip, drills, labels.

    python -m tests.support.showroom        starts one and prints where its console is, until Ctrl-C

One process tree for all tests of a session. Model servers and clients live in a thread of this process. Each
endpoint has a story of its own:

* `rain`: a good candidate whose gates have passed, in canary, with drift, labels, cohorts and a lineage.
* `hail`: its candidate was healthy, then flipped three predictions in ten: it was tripped, and its release
  rolled back.
* `storm`: its gates have passed, and it waits for two people's approval.
* `fog`: no candidate.
* `words`: answers and payloads are hostile strings, compared as JSON.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx

from tests.support.ports import free_port

ROOT = Path(__file__).parents[2]
PATIENCE = 200.0
PAUSE = 0.1
MOST_REMEMBERED = 500
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\u202egnp.exe\x1b[31mred"
COUNTRIES = ("NZ", "DE", "US", "<b>NZ</b>")
FEATURES = ("humidity", "pressure", "wind")

Predict = Callable[[dict[str, Any]], dict[str, Any]]


def _probability(features: list[float]) -> float:
    humidity, pressure, wind = features
    return 1 / (1 + math.exp(-(humidity - 60) / 8 - wind / 20 + (pressure - 1013) / 6))


def _classified(probability: float) -> dict[str, Any]:
    data = [round(1 - probability, 4), round(probability, 4)]
    output = {"name": "predict_proba", "shape": [1, 2], "datatype": "FP64", "data": data}
    return {"model_name": "rain", "outputs": [output]}


class Models:
    """The model servers, as one: a version answers below its name. `flips`: share of flipped answers."""

    def __init__(self) -> None:
        self.flips: dict[str, float] = {}
        self.port = 0
        self._draw = random.Random(7)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in tuple(self._writers):
            writer.transport.abort()
        await asyncio.sleep(PAUSE)  # for the transports' own last callbacks

    def answer(self, version: str, body: bytes) -> dict[str, Any]:
        request = json.loads(body)
        if version.startswith("words"):
            said = str(request.get("text", ""))
            return {"answer": said if version.endswith("1") else f"{HOSTILE} {said}", "model": HOSTILE}
        features = [one["data"][0] for one in request["inputs"]]
        probability = _probability(features)
        if version.endswith("2"):
            probability = min(0.999, max(0.001, probability + self._draw.gauss(0, 0.004)))
        if self._draw.random() < self.flips.get(version, 0.0):
            probability = 1 - probability
        return _classified(probability)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                lines = head.split("\r\n")
                path = lines[0].split(" ")[1]
                fields = dict(one.lower().split(": ", 1) for one in lines[1:] if ": " in one)
                body = await reader.readexactly(int(fields.get("content-length", "0")))
                version = path.split("/")[1]
                said = json.dumps(self.answer(version, body) if body else {}).encode()
                if version.endswith("2"):
                    await asyncio.sleep(0.003)
                writer.write(
                    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
                    % (len(said), said)
                )
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the gateway let the connection go
        finally:
            self._writers.discard(writer)
            writer.close()


class Showroom:
    """A started gateway. `admin`, `data`: its addresses; `api`: a client of the admin API.

    `rates`: requests a second by endpoint, which may be changed while it runs; `asked`: the newest requests
    of each, with what was really true.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.models = Models()
        self.rates: dict[str, float] = {"rain": 40, "hail": 25, "storm": 8, "fog": 8, "words": 8}
        self.asked: dict[str, dict[str, str]] = {name: {} for name in self.rates}
        self.port, self.admin_port = free_port(), free_port()
        self.admin = f"http://127.0.0.1:{self.admin_port}"
        self.api = httpx.Client(base_url=self.admin, trust_env=False, timeout=30)
        self.process: subprocess.Popen[bytes] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._thread = threading.Thread(target=self._run, name="showroom", daemon=True)
        self._up = threading.Event()

    # Life.

    def start(self) -> None:
        self._thread.start()
        assert self._up.wait(PATIENCE), "the model servers did not start"
        self.write()
        self.begin()
        self._loop_call(self._ask_all)

    def begin(self) -> None:
        """Start the gateway's processes, again after `end`."""
        with (self.folder / "gateway.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gateway", "-c", str(self.folder / "pointsman.yaml"), "--held"],
                cwd=self.folder, stdin=subprocess.PIPE, stdout=log, stderr=log,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )  # fmt: skip
        self.until(lambda: self.api.get("/readyz").status_code == 200, "the gateway to be ready")

    def end(self) -> None:
        """End the gateway's processes, in order."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(PATIENCE)
            if self.process.stdin is not None:
                self.process.stdin.close()

    def stop(self) -> None:
        try:
            self.end()
        finally:
            self._loop_call(self._close)
            self._thread.join(PATIENCE)
            self.api.close()

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for what has to come; fail with `what` and the log when it does not."""
        give_up = time.monotonic() + PATIENCE
        while time.monotonic() < give_up:
            try:
                if condition():
                    return
            except httpx.TransportError:
                pass  # not up yet: asked again until the patience is over
            time.sleep(PAUSE)
        log = (self.folder / "gateway.log").read_text()[-2000:]
        raise AssertionError(f"waited in vain for {what}; the log ends with\n{log}")

    # What is there.

    def get(self, path: str) -> Any:
        answer = self.api.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, body: dict[str, Any] | list[Any]) -> Any:
        answer = self.api.post(path, json=body)
        assert answer.status_code < 300, answer.text
        return answer.json()

    def endpoint(self, name: str) -> dict[str, Any]:
        shown: dict[str, Any] = self.get(f"/api/v1/endpoints/{name}")
        return shown

    def release(self, name: str) -> dict[str, Any] | None:
        """The newest release of an endpoint."""
        found: list[dict[str, Any]] = self.get(f"/api/v1/releases?endpoint={name}")["releases"]
        return found[0] if found else None

    def tell_stories(self) -> None:
        """Wait until every endpoint has come to where its story stands."""
        self.until(lambda: self._is("hail", "canary"), "hail to be in canary")
        self.models.flips["hail-2"] = 0.3
        self.until(lambda: len(self.asked["rain"]) > 150, "answers of rain")
        self.label("rain")
        self.until(lambda: self._is("rain", "canary"), "rain to be in canary")
        self.until(lambda: self._is("storm", "approving"), "storm to wait for approvals")
        self.until(lambda: self._is("hail", "rolled back"), "hail to be rolled back")
        drill = self.post("/api/v1/drills", {"endpoint": "rain"})
        self.until(
            lambda: self.get(f"/api/v1/drills/{drill['id']}")["state"] in ("passed", "failed"), "the drill"
        )

    def _is(self, name: str, phase: str) -> bool:
        return (self.release(name) or {}).get("phase") == phase

    def label(self, name: str) -> None:
        """What was really true of the newest requests."""
        self.post(
            "/api/v1/labels", [{"request_id": one, "label": truth} for one, truth in self.asked[name].items()]
        )

    def write(self) -> None:
        """The files of an operator."""
        flag = {"name": "canary", "enabled": True, "strategies": [{"name": "default", "parameters": {}}]}
        (self.folder / "flags.json").write_text(json.dumps({"version": 1, "features": [flag]}))
        (self.folder / "lineage.yaml").write_text(json.dumps({"versions": _lineage()}))
        (self.folder / "pointsman.yaml").write_text(json.dumps(self._document()))

    def _document(self) -> dict[str, Any]:
        return {
            "listen": f"127.0.0.1:{self.port}",
            "admin": f"127.0.0.1:{self.admin_port}",
            "workers": 1,
            "drain": "1s",
            "environment": "staging",
            "state": {"database": f"sqlite:///{self.folder}/pointsman.db"},
            "flags": {"source": "file", "path": str(self.folder / "flags.json")},
            "registry": {"source": "file", "path": str(self.folder / "lineage.yaml")},
            "endpoints": {
                "rain": self._endpoint(
                    "rain",
                    flag="canary",
                    cohorts=["header:x-country"],
                    guards={
                        "vote": {"per": "pair"}, "certify": False, "flips": {"rate": "5%"},
                        "divergence": {"mean": "4%"}, "errors": {"excess": "2%"},
                        "drift": {"shift": "20%", "learn": 250}, "accuracy": {"drop": "30%"},
                        "latency": {"slo": "900ms", "slo_rate": "40%"},
                    },
                    gates=_gates("the candidate is as good on the holdout: 0.912 against 0.909"),
                    plan=[
                        {"mode": "shadow", "pairs": 60},
                        {"mode": "canary", "weight": "10%", "pairs": 20_000},
                        {"mode": "canary", "weight": "50%", "pairs": 1000, "at_least": "1h"},
                    ],
                    watch="24h",
                    drift={"learn": 300, "over": "0s"},
                    drills={"every": "0 3 * * 1", "environment": "staging", "fault": "flip", "share": "100%"},
                ),
                "hail": self._endpoint(
                    "hail",
                    guards={"vote": {"per": "pair"}, "certify": False, "flips": {"rate": "1%"}},
                    plan=[
                        {"mode": "shadow", "pairs": 60},
                        {"mode": "canary", "weight": "50%", "pairs": 20_000},
                    ],
                    watch="24h",
                ),
                "storm": self._endpoint(
                    "storm",
                    guards={"vote": {"per": "pair"}, "certify": False, "flips": {"rate": "5%"}},
                    gates=_gates("no group is treated worse than another"),
                    plan=[{"mode": "shadow", "pairs": 100}, {"mode": "canary", "weight": "5%"}],
                    watch="24h",
                    approvals={"people": 2},
                ),
                "fog": {**self._endpoint("fog"), "candidate": None},
                "words": self._endpoint(
                    "words", protocol="json", compare={"kind": "json"}, cohorts=["header:x-country"],
                    guards={"vote": {"per": "pair"}, "errors": {"excess": "10%"}},
                    plan=[{"mode": "shadow", "pairs": 20_000}],
                ),
            },
        }  # fmt: skip

    def _endpoint(self, name: str, **keys: Any) -> dict[str, Any]:
        base = f"http://127.0.0.1:{self.models.port}"
        return {
            "path": f"/predict/{name}",
            "protocol": "v2",
            "unit": "header:x-user-id",
            "incumbent": {"version": f"{name}-1", "urls": [f"{base}/{name}-1"]},
            "candidate": {"version": f"{name}-2", "urls": [f"{base}/{name}-2"]},
            "compare": {"kind": "classification", "output": "predict_proba", "labels": ["dry", "rain"]},
            **keys,
        }

    # Traffic.

    def _run(self) -> None:
        asyncio.run(self._live())

    async def _live(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        await self.models.start()
        self._up.set()
        await self._ended.wait()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.models.stop()

    def _loop_call(self, callback: Callable[[], None]) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(callback)

    def _close(self) -> None:
        self._ended.set()

    def _ask_all(self) -> None:
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._ask(name, random.Random(name))) for name in self.rates]

    async def _ask(self, name: str, draw: random.Random) -> None:
        """Requests one after another; a connection that breaks is made anew."""
        number = 0
        while True:
            writer: asyncio.StreamWriter | None = None
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                while True:
                    number += 1
                    await self._once(name, number, draw, reader, writer)
                    await asyncio.sleep(1 / self.rates[name])
            except (ConnectionError, asyncio.IncompleteReadError):
                await asyncio.sleep(PAUSE)
            finally:
                if writer is not None:
                    writer.close()

    async def _once(
        self, name: str, number: int, draw: random.Random, reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:  # fmt: skip
        request_id = f"{name}-{os.getpid()}-{number}"
        drifted = 4.0 if number > 600 else 0.0
        row = (draw.gauss(62 + drifted, 11), draw.gauss(1012, 6), abs(draw.gauss(14, 7)))
        if name == "words":
            body = json.dumps({"text": f"{HOSTILE} number {number}"}).encode()
        else:
            inputs = [
                {"name": feature, "shape": [1], "datatype": "FP64", "data": [value]}
                for feature, value in zip(FEATURES, row, strict=True)
            ]
            body = json.dumps({"inputs": inputs}).encode()
        country = draw.choice(COUNTRIES)
        head = (
            f"POST /predict/{name} HTTP/1.1\r\nhost: models\r\ncontent-type: application/json\r\n"
            f"x-user-id: user-{number % 4000}\r\nx-country: {country}\r\nx-request-id: {request_id}\r\n"
            f"content-length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        said = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = next(
            int(one.split(":")[1]) for one in said.split("\r\n") if one.startswith("content-length:")
        )
        await reader.readexactly(length)
        known = self.asked[name]
        known[request_id] = "rain" if draw.random() < _probability(list(row)) else "dry"
        if len(known) > MOST_REMEMBERED:
            del known[next(iter(known))]


def _gates(sentence: str) -> dict[str, Any]:
    said = json.dumps(
        {"verdict": "pass", "sentence": sentence, "numbers": {"candidate": 0.912, "incumbent": 0.909}}
    )
    return {"custom": [{"name": "holdout", "command": [sys.executable, "-c", f"print({said!r})"]}]}


def _lineage() -> dict[str, Any]:
    def of(version: str, table: str, commit: str, accuracy: float) -> dict[str, Any]:
        return {
            "dataset": {
                "name": "weather", "version": table, "digest": f"sha256:{table * 8}",
                "location": "s3://rain/tables/weather",
            },
            "commit": commit, "repository": "https://git.example/rain", "schema": "features-v3",
            "transformation": "v2",
            "hyperparameters": {"depth": 7 if version == "rain-2" else 5, "rate": 0.1},
            "metrics": {"accuracy": accuracy}, "created": "2026-01-02T03:04:05+00:00", "author": "ada",
            "artifact_digest": f"sha256:{commit * 4}", "runs": ["wandb:acme/rain/1abc"],
        }  # fmt: skip

    return {"rain-1": of("rain-1", "16", "9c1d2e3f", 0.909), "rain-2": of("rain-2", "17", "4f1a2b3c", 0.912)}


@contextmanager
def showroom(folder: Path) -> Iterator[Showroom]:
    """A gateway whose stories have been told, with its files in `folder`."""
    one = Showroom(folder)
    one.start()
    try:
        one.tell_stories()
        yield one
    finally:
        one.stop()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, showroom(Path(folder)) as one:
        print(f"console: {one.admin}/   files: {folder}", flush=True)
        with suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
