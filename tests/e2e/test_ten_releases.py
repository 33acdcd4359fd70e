"""Ten releases, one after the other, through a gateway as a user runs it: five good ones go all the way, five
bad ones are stopped, each by another part of the gateway, and no client ever gets an error.

Models, days, their order and the users are the same every time.
"""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from examples.rain.configuration import INFER_PATH
from examples.rain.traffic import request_body
from tests.support.processes import Gateway
from tests.support.ten_models import VERSIONS, Days, Version, names, serving

PATIENCE = 300.0
"""Seconds after which a release that has not ended counts as hanging."""

GOOD = [one for one in VERSIONS if not one.defect]
BAD = [one for one in VERSIONS if one.defect]


def rain(held_out: Path) -> dict[str, Any]:
    """The endpoint's keys but for its versions."""
    return {
        "path": INFER_PATH,
        "protocol": "v2",
        "timeout": "5s",
        "flag": None,
        "compare": {"kind": "classification", "output": "predict_proba", "labels": ["dry", "rain"]},
        "guards": {
            "certify": False,
            "vote": {"per": "pair"},
            "flips": {"rate": "5%"},
            "errors": {"excess": "5%"},
            "confidence": {"shift": "3%"},
            "breaker": {"consecutive_errors": 50},
        },
        "gates": {
            "evaluation": {"data": str(held_out), "label": "rained", "metric": "accuracy", "tolerance": "5%"},
            "latency": {"rps": 20, "for": "2s", "p50": "500ms", "errors": "10%"},
        },
        "plan": [
            {"mode": "shadow", "pairs": 60},
            {"mode": "canary", "weight": "20%", "pairs": 60},
            {"mode": "canary", "weight": "60%", "pairs": 60},
        ],
        "watch": "1s",
        "patience": "1h",
    }


class PatientGateway(Gateway):
    """One that may take its time to start, on a machine that has other things to do."""

    async def ready(self) -> None:
        for _ in range(4):
            with contextlib.suppress(AssertionError):
                await super().ready()
                return
        await super().ready()


class Users:
    """A few clients that ask for real days, one after the other, until told to stop."""

    def __init__(self, port: int, days: Days) -> None:
        self.arms: dict[str, int] = {}
        self.failures: list[str] = []
        self._days = days
        self._client = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30)
        self._stopping = False
        self._running: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Users:
        loop = asyncio.get_running_loop()
        self._running = [loop.create_task(self._ask(number)) for number in range(3)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopping = True
        await asyncio.gather(*self._running)
        await self._client.aclose()

    async def _ask(self, number: int) -> None:
        while not self._stopping:
            row = self._days.traffic[number % len(self._days.traffic)]
            answer = await self._client.post(
                INFER_PATH, content=request_body(row.tolist()), headers={"x-user-id": f"user-{number}"}
            )
            if answer.status_code != 200:
                self.failures.append(f"{answer.status_code} {answer.text[:200]}")
            arm = answer.headers.get("x-pointsman-arm", "none")
            self.arms[arm] = self.arms.get(arm, 0) + 1
            number += 3
            await asyncio.sleep(0.01)


async def ended(gateway: Gateway, version: Version) -> dict[str, Any]:
    """The release of `version`, once it is done, halted or rolled back."""
    async with asyncio.timeout(PATIENCE):
        while True:
            found = (await gateway.admin.get("/api/v1/releases?endpoint=rain")).json()["releases"]
            newest: dict[str, Any] = found[0] if found else {}
            over = newest.get("phase") in ("done", "halted", "rolled back")
            if over and newest["candidate"] == version.name:
                tripped = (await gateway.view())["switch"]["tripped"]
                if tripped == (newest["phase"] == "rolled back"):  # else it begins after another one's trip
                    return newest
            await asyncio.sleep(0.1)


async def offered(gateway: Gateway, incumbent: dict[str, Any], candidate: dict[str, Any]) -> None:
    """Configure both. After a trip the bad one is taken out first, and the switch re-armed."""
    if (await gateway.view())["switch"]["tripped"]:
        await _configured(gateway, incumbent, None)
        rearmed = await gateway.admin.post(
            "/api/v1/endpoints/rain/rearm", json={"reason": "the candidate is configured no more"}
        )
        assert rearmed.status_code == 200, rearmed.text
    await _configured(gateway, incumbent, candidate)


async def _configured(gateway: Gateway, incumbent: dict[str, Any], candidate: dict[str, Any] | None) -> None:
    endpoint = gateway.document["endpoints"]["rain"]
    endpoint["incumbent"], endpoint["candidate"] = incumbent, candidate
    gateway.write()
    answer = await gateway.admin.post("/api/v1/config/reload")
    assert answer.status_code == 200, answer.text


@pytest.mark.timeout(900)
def test_of_ten_releases_the_five_bad_ones_are_stopped_and_no_good_one_is(tmp_path: Path) -> None:
    async def scenario() -> tuple[list[tuple[str, str, str]], Users]:
        days = Days()
        told: list[tuple[str, str, str]] = []
        async with AsyncExitStack() as stack:
            ports = {
                one.name: await stack.enter_async_context(serving(days, tmp_path, one, number))
                for number, one in enumerate((Version("rain-1"), *VERSIONS))
            }
            versions = {
                name: {"version": name, "urls": [f"http://127.0.0.1:{port}"]} for name, port in ports.items()
            }
            first = ports[VERSIONS[0].name]
            endpoint = rain(days.held_out(tmp_path / "calm.csv"))
            gateway = await stack.enter_async_context(
                PatientGateway(tmp_path, ports["rain-1"], first, **endpoint)
            )
            users = await stack.enter_async_context(Users(gateway.port, days))
            incumbent = versions["rain-1"]
            for version in VERSIONS:
                await offered(gateway, incumbent, versions[version.name])
                release = await ended(gateway, version)
                view = await gateway.view()
                trip = view["switch"].get("last_trip") or view.get("last_trip") or {}
                cause = str(trip.get("cause")) if release["phase"] == "rolled back" else release["reason"]
                told.append((version.name, release["phase"], cause))
                if version in GOOD:
                    incumbent = versions[version.name]
        return told, users

    told, users = asyncio.run(scenario())
    assert [(name, phase) for name, phase, _ in told] == [(one.name, one.ends) for one in VERSIONS]
    for version, (_, _, cause) in zip(VERSIONS, told, strict=True):
        assert version.because in cause, f"{version.name} was stopped by {cause}"
    assert len({one.because for one in BAD}) == len(BAD) == len(GOOD) == 5
    assert len(set(names(VERSIONS))) == 10
    assert users.failures == []
    assert users.arms["candidate"] > 0
