"""Rollouts written to an Unleash that answers what it should not, and for endpoints that come and go."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from control.rollouts import REFUSED
from control.unleash_admin import Refused, set_rollout
from settings.schema import UnleashSettings
from tests.support.control import Here, document, here, write
from tests.support.unleash_stub import Asked, feature, features, status, stub


@pytest.fixture(autouse=True)
def tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNLEASH_TOKEN", "client-key")
    monkeypatch.setenv("UNLEASH_ADMIN", "admin-key")


@pytest.mark.parametrize(
    "raw",
    [
        b"{}",
        b"\xff",
        b'[{"id":"\xff","name":"flexibleRollout"}]',
        b'[{"id":"a","name":"b","parameters":{"rollout":' + b"[" * 50_000,
    ],
)
def test_what_is_no_list_of_strategies_is_refused(raw: bytes) -> None:
    async def scenario() -> None:
        async with stub() as unleash:
            unleash.answer = status(200, raw)
            settings = UnleashSettings(
                unleash.url, "UNLEASH_TOKEN", "development", admin_token_env="UNLEASH_ADMIN"
            )
            with pytest.raises(Refused, match="no list of strategies"):
                await set_rollout(settings, "canary", 25)

    asyncio.run(scenario())


def test_an_endpoint_that_a_reload_takes_away_meanwhile_does_not_end_the_writing(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with stub() as unleash:
            whole = configuration(tmp_path, unleash.url)
            without = {**whole, "endpoints": {"rain": whole["endpoints"]["rain"]}}
            running: asyncio.Future[Here] = asyncio.get_running_loop().create_future()
            asked_for: list[str] = []

            async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
                if "/admin/" not in asked.target:
                    await status(200, features(feature("canary"), feature("white")))(asked, writer)
                    return
                asked_for.append("snow" if "white" in asked.target else "rain")
                if len(asked_for) == 1:
                    write(tmp_path, without)
                    await reload(await running)
                await status(403)(asked, writer)

            unleash.answer = answer
            write(tmp_path, whole)
            async with here(tmp_path) as control:
                running.set_result(control)
                rollouts = control.control.rollouts
                await control.until(lambda: "rain" in rollouts.last)
                assert asked_for == ["rain"], "snow was taken away while rain was written"
                write(tmp_path, whole)
                await reload(control)
                await control.until(lambda: "snow" in rollouts.last)
                assert rollouts.last["snow"].outcome == REFUSED

    asyncio.run(scenario())


async def reload(control: Here) -> None:
    assert (await control.client.post("/api/v1/config/reload")).status_code == 200


def configuration(folder: Path, url: str) -> dict[str, Any]:
    """Two endpoints, `rain` before `snow`, both driven in Unleash."""
    plan = [{"mode": "shadow", "pairs": 50}, {"mode": "canary", "weight": "25%"}]
    guards = {"certify": False, "flips": {"rate": "1%"}}
    driven = document(folder, drive="unleash", plan=plan, guards=guards)
    rain = driven["endpoints"]["rain"]
    snow = json.loads(json.dumps(rain)) | {"path": "/snow", "flag": "white"}
    unleash = {
        "url": url, "token_env": "UNLEASH_TOKEN", "environment": "development", "poll": "100ms",
        "admin_token_env": "UNLEASH_ADMIN",
    }  # fmt: skip
    return driven | {
        "flags": {"source": "unleash", "unleash": unleash}, "endpoints": {"rain": rain, "snow": snow},
    }  # fmt: skip
