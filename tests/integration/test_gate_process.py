"""The process that gates are executed in is ended, whoever is in a hurry."""

from __future__ import annotations

import asyncio
import signal
import sys

import pytest

from control import gating
from shadow.tasks import Tasks

SLEEPS = "import time; print('up', flush=True); time.sleep(600)"
ENDS = "import sys; print('up', flush=True); sys.stdin.read()"


async def started(program: str) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert await process.stdout.readline() == b"up\n"
    return process


@pytest.mark.parametrize("times", [1, 2, 3])
def test_who_is_cancelled_again_while_it_ends_leaves_no_process(
    times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        process = await started(SLEEPS)
        ending = Tasks(lambda name, error: None).spawn(gating._end(process), "end")
        for _ in range(times):
            await asyncio.sleep(0)
            ending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await ending
        assert process.returncode == -signal.SIGKILL

    monkeypatch.setattr(gating, "GRACE", 60.0)
    asyncio.run(scenario())


def test_a_run_ends_by_itself_with_its_input_and_is_killed_when_it_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario(program: str) -> int | None:
        process = await started(program)
        await gating._end(process)
        return process.returncode

    assert asyncio.run(scenario(ENDS)) == 0
    monkeypatch.setattr(gating, "GRACE", 0.05)
    assert asyncio.run(scenario(SLEEPS)) == -signal.SIGKILL
