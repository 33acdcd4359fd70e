"""A machine that has no room for a process now may have some later: the supervisor goes on trying."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from gateway import sockets, supervisor
from gateway.supervisor import Supervisor
from settings.file import load
from tests.support.control import document, write


class Ended:
    """A child that ends at once, when the supervisor is to end as well."""

    code = 0

    def __init__(self, stopping: asyncio.Event) -> None:
        self._stopping = stopping

    async def tell(self, frame: bytes) -> None:
        """Nothing to do with it."""

    async def wait(self) -> int:
        """Its exit status."""
        self._stopping.set()
        return 0


@pytest.mark.parametrize("keeping", ["_keep_control", "_keep_log"])
def test_a_process_that_could_not_be_started_is_started_later(
    keeping: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders: list[Sequence[str]] = []

    async def scenario() -> None:
        monkeypatch.setattr(sockets, "bind", lambda *_: [])
        monkeypatch.setattr(tempfile, "mkdtemp", lambda **_: str(tmp_path))
        config = write(tmp_path, document(tmp_path))
        one = Supervisor(load(config), config, 1)

        def start(arguments: Sequence[str]) -> Ended:
            orders.append(arguments)
            if len(orders) < 3:
                one._kill()  # a kill that comes meanwhile goes to the one that starts
                raise OSError(11, "Resource temporarily unavailable")
            return Ended(one._stopping)

        monkeypatch.setattr(supervisor, "start", start)
        monkeypatch.setattr(supervisor, "LONGEST_PAUSE", 0.0)
        await getattr(one, keeping)()
        await one._tasks.cancel()

    asyncio.run(asyncio.wait_for(scenario(), 20))
    assert len(orders) == 3
    assert ("--kill" in orders[-1]) is (keeping == "_keep_control")
