"""Refused changes: one that ended in an error of ours is recorded like any other."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from starlette.types import Receive, Scope, Send

from control.audit_recorder import Recorder
from control.clock import Clock
from control.refusals import Refusals


class Chain:
    """Takes what is told."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []

    def event(self, action: str, kind: str, name: str, **more: Any) -> dict[str, Any]:
        return {"action": action, "kind": kind, "name": name, **more}

    def tell(self, event: dict[str, Any]) -> None:
        self.told.append(event)


async def _broken(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    raise RuntimeError("a defect")


@pytest.mark.parametrize(("method", "count"), [("POST", 1), ("GET", 0)])
def test_a_change_that_failed_by_a_defect_is_recorded_as_refused(method: str, count: int) -> None:
    chain = Chain()
    refusals = Refusals(_broken, cast("Recorder", chain), Clock())

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"{}"}

    async def send(message: Any) -> None:
        raise AssertionError("whoever is around answers")

    with pytest.raises(RuntimeError, match="a defect"):
        asyncio.run(refusals({"type": "http", "method": method, "path": "/api/v1/labels"}, receive, send))
    assert [(one["action"], one["evidence"]["status"]) for one in chain.told] == [("refused.labels", 500)][
        :count
    ]
