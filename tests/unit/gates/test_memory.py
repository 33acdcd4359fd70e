"""The memory gate reads a server's own metrics, a process, or a control group."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from domain.errors import GateError
from domain.verdict import Verdict
from examples.model_server.http import Answer
from gates.checks.memory import Memory
from gates.result import Judgement
from tests.support.trials import PATH, answering, context_of, lines, settings_of

MIB = 1024 * 1024


def measured(
    folder: Path, resident: list[float], limit: str = "100MiB", status: int = 200, **gate: Any
) -> Judgement:
    """The verdict on a server whose metrics go through `resident`, in MiB, and stay at the last one."""
    asked = 0

    def respond(method: str, path: str, body: bytes) -> Answer:
        nonlocal asked
        if path == PATH:
            return Answer(status, b"{}")
        if path != "/metrics":
            return Answer(404, b"{}")
        value = resident[min(asked, len(resident) - 1)]
        asked += 1
        text = "# TYPE process_resident_memory_bytes gauge\n" if resident != [0] else "up 1\n"
        if resident != [0]:
            text += f"process_resident_memory_bytes {value * MIB}\nprocess_resident_memory_bytes_max 1e12\n"
        return Answer(200, text.encode())

    requests = lines(folder / "requests.jsonl", [{"wet": 1}])
    gates = {"requests": str(requests), "memory": {"max": limit, "for": "1s", **gate}}

    async def scenario() -> Judgement:
        async with answering(respond) as port, context_of(settings_of(port, port, gates)) as context:
            assert context.endpoint.gates.memory is not None
            return await Memory(context.endpoint.gates.memory).run(context)

    return asyncio.run(scenario())


@pytest.mark.parametrize(("peak", "verdict"), [(90.0, Verdict.PASS), (110.0, Verdict.FAIL)])
def test_the_peak_counts_not_the_end(tmp_path: Path, peak: float, verdict: Verdict) -> None:
    found = measured(tmp_path, [50.0, 60.0, peak, 50.0])
    assert found.verdict is verdict
    assert found.numbers["peak"] == peak * MIB
    assert found.numbers["requests"] == 20


def test_a_process_is_measured_at_its_own_peak(tmp_path: Path) -> None:
    found = measured(tmp_path, [1.0], "1000GiB", pid=os.getpid())
    assert found.verdict is Verdict.PASS
    assert found.numbers["peak"] > 10 * MIB
    assert measured(tmp_path, [1.0], "1MiB", pid=os.getpid()).verdict is Verdict.FAIL


@pytest.mark.parametrize("name", ["memory.peak", "memory.max_usage_in_bytes"])
def test_a_control_group_of_either_version_is_measured(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(f"{101 * MIB}\n")
    assert measured(tmp_path, [1.0], cgroup=str(tmp_path)).verdict is Verdict.FAIL


def test_a_peak_of_nothing_is_no_measurement(tmp_path: Path) -> None:
    (tmp_path / "memory.peak").write_text("0\n")
    with pytest.raises(GateError, match="nothing was measured"):
        measured(tmp_path, [1.0], cgroup=str(tmp_path))
    with pytest.raises(GateError, match="says that process_resident_memory_bytes is nan"):
        measured(tmp_path, [float("nan")])


@pytest.mark.parametrize(
    ("resident", "gate", "complaint"),
    [
        ([0], {}, "has no process_resident_memory_bytes"),
        ([1.0], {"metrics": "/elsewhere"}, "answers 404"),
        ([1.0], {"pid": 4_000_000}, "process 4000000 cannot be read"),
        ([1.0], {"cgroup": "/nowhere"}, "neither memory.peak"),
        ([1.0], {"status": 500}, "none of 20 requests was answered"),
    ],
)
def test_memory_that_cannot_be_read_is_no_measurement(
    tmp_path: Path, resident: list[float], gate: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(GateError, match=complaint):
        measured(tmp_path, resident, **gate)
