"""A real Prometheus at a real gateway: everything it is asked for has data, and a trip raises the alert."""

from __future__ import annotations

import asyncio
import json
import math
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from monitoring.dashboards.boards import BOARDS
from monitoring.dashboards.rendering import write
from tests.support.gateway import PATH
from tests.support.ports import free_port
from tests.support.processes import Gateway
from tests.support.prometheus import RULES, MissingError, Prometheus, program, prometheus
from tests.support.redis_server import RedisServer
from tests.support.upstream import Answer, Heard, ScriptedUpstream, response

PATIENCE = 180.0
"""Seconds after which something that should come counts as missing."""
OWN_METRICS = b"""\
# TYPE process_cpu_seconds_total counter
process_cpu_seconds_total %d
# TYPE process_resident_memory_bytes gauge
process_resident_memory_bytes 1e8
"""
SHARED = re.compile(r"pointsman_(?:redis|leader|replicas)")
"""What has data where state is shared: with releases there are no drills there."""
NO_MODEL = b"[0.1, 0.2, "
"""Half of a prediction."""


def model(wrong: Callable[[], bool] = lambda: False) -> Answer:
    """Rain, or no rain while `wrong`; at /metrics, what a model server tells of itself."""

    async def answer(heard: Heard, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if heard.line.startswith(b"GET /metrics "):
            writer.write(response(OWN_METRICS % time.monotonic()))
        elif json.loads(heard.body)["age"] < 0:
            writer.write(response(NO_MODEL))
        else:
            writer.write(response(b"[0.9, 0.1]" if wrong() else b"[0.1, 0.9]"))
        await writer.drain()

    return answer


class Traffic:
    """Requests of many units, one after another, until it is stopped; each is labelled a little later."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._number = 0
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Traffic:
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._run()) for _ in range(2)]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        ended = await asyncio.gather(*self._tasks, return_exceptions=True)
        for error in ended:  # without traffic nothing else comes: this is why
            if isinstance(error, Exception):
                raise error

    async def _run(self) -> None:
        base = f"http://127.0.0.1:{self._gateway.port}"
        async with httpx.AsyncClient(base_url=base, trust_env=False, timeout=30) as client:
            while True:
                self._number += 1
                number = self._number
                fields = {
                    "x-user-id": f"u{number}", "x-request-id": f"r{number}",
                    "x-country": ("NZ", "AU")[number % 2],
                }  # fmt: skip
                age = -1 if number == 30 else number % 100
                try:
                    answer = await client.post(PATH, json={"age": age}, headers=fields)
                except httpx.TransportError:  # late, or given up by a gateway that sheds
                    continue
                # A model here shares a busy machine with its clients, and may be late.
                assert answer.status_code in (200, 504), answer.text
                if number % 10 == 0 and number > 200:
                    label = [{"request_id": f"r{number - 100}", "label": "rain"}]
                    with suppress(httpx.TimeoutException):
                        told = await self._gateway.admin.post("/api/v1/labels", json=label)
                        assert told.status_code == 200, told.text
                await asyncio.sleep(0.01)


def scraping(gateway: Gateway, folder: Path) -> dict[str, Any]:
    """A configuration of Prometheus as docs/monitoring.md has it, only faster."""
    rules = folder / "rules.yml"
    rules.write_text(RULES.read_text().replace("interval: 15s", "interval: 1s"))
    target = [{"targets": [f"127.0.0.1:{gateway.admin_port}"]}]
    return {
        # A scrape has as long as its interval, on a busy machine, too.
        "global": {"scrape_interval": "2s", "evaluation_interval": "1s"},
        "rule_files": [str(rules)],
        "scrape_configs": [
            {"job_name": "pointsman", "static_configs": target},
            {"job_name": "pointsman-models", "metrics_path": "/metrics/models", "static_configs": target},
        ],
    }


def queries(folder: Path) -> Iterator[tuple[str, str]]:
    """Every query of every panel, as Grafana would send it, with where it stands."""
    for path in write(folder, BOARDS):
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel.get("targets", ()):
                expression = target["expr"].replace("$__rate_interval", "1m").replace("$endpoint", ".*")
                yield f"{path.stem}: {panel['title']} {target['refId']}", expression


async def until(condition: Callable[[], object], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < end, f"{what} never came"
        await asyncio.sleep(0.3)


def without_data(server: Prometheus, asked: dict[str, str]) -> dict[str, str]:
    """What of `asked` gives nothing, or no numbers."""
    return {
        where: expression
        for where, expression in asked.items()
        if all(math.isnan(value) for _, value in server.values(expression))
    }


def health(server: Prometheus) -> dict[str, str]:
    return {url: state for url, (state, _) in server.targets().items()}


async def all_have_data(server: Prometheus, asked: dict[str, str]) -> None:
    end = time.monotonic() + PATIENCE
    while missing := await asyncio.to_thread(without_data, server, asked):
        assert time.monotonic() < end, missing
        await asyncio.sleep(1)


async def drilled(gateway: Gateway) -> None:
    """One drill that passes."""
    begun = await gateway.admin.post("/api/v1/drills", json={"endpoint": "rain", "fault": "flip"})
    assert begun.status_code == 201, begun.text
    path = f"/api/v1/drills/{begun.json()['id']}"
    end = time.monotonic() + PATIENCE
    while (await gateway.admin.get(path)).json()["state"] != "passed":
        assert time.monotonic() < end, (await gateway.admin.get(path)).text
        await asyncio.sleep(0.2)


@pytest.mark.timeout(600)  # where two cores are busy with all the rest
def test_every_panel_has_data_and_a_trip_fires_its_alert(tmp_path: Path) -> None:
    try:
        program("prometheus")
    except MissingError as error:
        pytest.skip(str(error))
    bad = False

    async def scenario() -> None:
        nonlocal bad
        async with (
            ScriptedUpstream(model()) as one,
            ScriptedUpstream(model(lambda: bad)) as two,
        ):
            closed = free_port()  # nobody listens: connects fail, and the other server is asked
            gateway = Gateway(
                tmp_path, one.port, two.port,
                timeout="2s",
                compare={"kind": "classification", "labels": ["dry", "rain"]},
                cohorts=["header:x-country", "feature:age"],
                guards={
                    "certify": False, "vote": {"per": "pair"}, "flips": {"rate": "5%"},
                    "errors": {"excess": "20%"}, "accuracy": {"drop": "60%"},
                    "drift": {"shift": "60%", "learn": 100},
                },
                plan=[{"mode": "shadow", "pairs": 20}, {"mode": "canary", "weight": "100%"}],
                watch="1h",
                drills={"served": True},
            )  # fmt: skip
            rain = gateway.document["endpoints"]["rain"]
            rain["incumbent"]["metrics"] = rain["candidate"]["metrics"] = "/metrics"
            rain["candidate"]["urls"].append(f"http://127.0.0.1:{closed}")
            gateway.document["environment"] = "staging"  # where a drill may touch what clients get
            gateway.document["limits"] = {"connections_per_client": 8}
            async with gateway, Traffic(gateway):
                crowd = [await asyncio.open_connection("127.0.0.1", gateway.port) for _ in range(12)]
                for _, writer in crowd:
                    writer.close()
                with prometheus(tmp_path, scraping(gateway, tmp_path)) as server:
                    await until(lambda: server.values("pointsman_label_delay_seconds_count"), "a label")
                    await until(lambda: set(health(server).values()) == {"up"}, "a scrape of both pages")
                    await until(lambda: server.values("pointsman_candidate_weight == 1"), "the canary")
                    await drilled(gateway)
                    await until(lambda: server.values("pointsman_candidate_weight == 1"), "the canary")
                    await until(lambda: "PointsmanTripped" not in server.alerts(), "an end of alerts")
                    bad = True
                    await until(lambda: server.alerts().get("PointsmanTripped") == "firing", "the alert")
                    asked = dict(queries(tmp_path / "dashboards"))
                    assert len(asked) > 60
                    await all_have_data(server, {k: v for k, v in asked.items() if not SHARED.search(v)})
                    exemplars = server.ask(
                        "query_exemplars", query="pointsman_request_duration_seconds_bucket",
                        start=str(time.time() - 600), end=str(time.time()),
                    )  # fmt: skip
                    ids = {one["labels"]["request_id"] for found in exemplars for one in found["exemplars"]}
                    assert ids
                    assert all(one.startswith("r") for one in ids)

    asyncio.run(asyncio.wait_for(scenario(), 560))


@pytest.mark.timeout(600)  # where two cores are busy with all the rest
def test_the_panels_of_shared_state_have_data_and_its_loss_raises_the_alert(tmp_path: Path) -> None:
    try:
        program("prometheus")
    except MissingError as error:
        pytest.skip(str(error))

    async def scenario() -> None:
        async with RedisServer() as redis, ScriptedUpstream(model()) as one, ScriptedUpstream(model()) as two:
            gateway = Gateway(tmp_path, one.port, two.port)
            gateway.document["state"]["redis"] = redis.url
            async with gateway:
                with prometheus(tmp_path, scraping(gateway, tmp_path)) as server:
                    asked = dict(queries(tmp_path / "dashboards"))
                    mine = {
                        where: expression for where, expression in asked.items() if SHARED.search(expression)
                    }
                    assert len(mine) == 3
                    await all_have_data(server, mine)
                    redis.kill()
                    await until(lambda: "PointsmanSharedStateOut" in server.alerts(), "the alert")

    asyncio.run(asyncio.wait_for(scenario(), 560))


def test_what_could_not_be_had_is_tried_again_only_where_that_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools, asked = tmp_path / "bin", tmp_path / "asked"
    tools.mkdir()
    for tool in ("apt-get", "dpkg-deb"):
        (tools / tool).write_text(f"#!/bin/sh\necho {tool} >> {asked}\nexit 1\n")
        (tools / tool).chmod(0o755)
    monkeypatch.setenv("PATH", str(tools))
    monkeypatch.setattr("tests.support.prometheus.HOME", tmp_path / "home")
    monkeypatch.setattr("os.geteuid", lambda: 1)
    for again, tries in ((False, 1), (False, 1), (True, 2), (False, 2)):
        with pytest.raises(MissingError, match="apt-get -qq download"):
            program("promtool", again=again)
        assert asked.read_text().split() == ["apt-get"] * tries


def test_the_rules_do_what_their_own_tests_say() -> None:
    try:
        tool = program("promtool")
    except MissingError as error:
        pytest.skip(str(error))
    done = subprocess.run(
        [tool, "test", "rules", "tests.yml"], cwd=RULES.parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tested() -> None:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    alerts = {rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule}
    tests = (RULES.parent / "tests.yml").read_text()
    assert {alert for alert in alerts if alert not in tests} == set()
