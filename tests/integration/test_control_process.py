"""The real process: killed at any moment it goes on where it was; ended it leaves in order."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.control import ROOT, ControlProcess, FakeWorker, document, pair, write

Start = Callable[[], ControlProcess]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts control processes; those that a failed test leaves are killed."""
    started: list[ControlProcess] = []

    def one() -> ControlProcess:
        started.append(ControlProcess(tmp_path))
        return started[-1]

    write(tmp_path)
    yield one
    for control in started:
        control.kill()


def endpoint(control: ControlProcess) -> dict[str, Any]:
    shown: dict[str, Any] = httpx.get(f"{control.admin}/api/v1/endpoints/rain", timeout=20).json()
    return shown


def test_evidence_stage_and_kills_survive_sigkill(start: Start) -> None:
    async def feed(control: ControlProcess, sequences: range, per: int = 100) -> int:
        worker = await FakeWorker().connect(control.link)
        generation = worker.snapshot.generation
        for sequence in sequences:
            numbers = range(sequence * per, sequence * per + per)
            await worker.send([pair(n, generation=generation) for n in numbers], sequence)
        await worker.close()
        return generation

    first = start()
    before = asyncio.run(feed(first, range(1, 7)))
    left = endpoint(first)
    first.kill()
    second = start()
    back = endpoint(second)
    for key in ("release", "guards", "verdict", "pairs"):
        assert back[key] == left[key], key
    assert back["release"]["stage"] == 1
    assert asyncio.run(feed(second, range(1, 7))) > before
    assert endpoint(second)["pairs"] == left["pairs"], "batches that were kept count once"
    killed = httpx.post(
        f"{second.admin}/api/v1/endpoints/rain/kill", json={"reason": "drill"}, timeout=20
    ).json()
    assert killed["durable"] is True
    second.kill()
    third = start()
    shown = endpoint(third)
    assert [kill["id"] for kill in shown["switch"]["kills"]] == [killed["kill"]]
    rearmed = httpx.post(f"{third.admin}/api/v1/endpoints/rain/rearm", json={"reason": "ok"}, timeout=20)
    assert rearmed.status_code == 200
    third.kill()
    fourth = start()
    shown = endpoint(fourth)
    assert not shown["switch"]["tripped"]
    assert shown["release"]["stage"] == 0
    assert shown["pairs"]["judged"] == 0
    assert fourth.terminate() == 0


def test_the_process_ends_with_its_supervisor(start: Start) -> None:
    control = start()
    assert control.hang_up() == 0
    assert not Path(control.link).exists()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"protocol": "morse"}, "endpoints.rain.protocol"),
        ({"plan": [{"mode": "canary", "weight": "140%"}]}, "endpoints.rain.plan"),
    ],
)
def test_a_bad_configuration_ends_the_start_with_the_key_and_no_traceback(
    tmp_path: Path, change: dict[str, Any], named: str
) -> None:
    path = write(tmp_path, document(tmp_path, **change))
    command = [sys.executable, "-m", "control", "-c", str(path), "--link", str(tmp_path / "link.sock")]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 2
    assert named in ended.stderr
    assert "Traceback" not in ended.stderr


def test_sighup_reads_the_configuration_again(start: Start, tmp_path: Path) -> None:
    control = start()

    async def scenario() -> None:
        worker = await FakeWorker().connect(control.link)
        assert worker.snapshot.endpoint("rain").timeout == 0.2
        (tmp_path / "pointsman.yaml").write_text(json.dumps(document(tmp_path, timeout="3s")))
        control.process.send_signal(1)
        await worker.until(lambda: worker.snapshot.endpoint("rain").timeout == 3.0)
        await worker.close()

    asyncio.run(scenario())
    assert control.terminate() == 0
