"""Receivers of notifications: what waits for them, and a test. Nothing here shows a URL or a key."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, StringConstraints
from starlette.responses import Response

from control.answers import json
from control.panel import Panel
from control.roles import Role, needs
from notify.retry import Fate


class TestRequest(BaseModel):
    """Which receiver is to be tried."""

    model_config = ConfigDict(extra="forbid")

    receiver: Annotated[str, StringConstraints(min_length=1, max_length=64)]


def routes(panel: Panel) -> APIRouter:
    """`/api/v1/notifications`."""
    router = APIRouter(prefix="/api/v1/notifications", tags=["notifications"])

    @router.get("", dependencies=[needs(Role.VIEWER)])
    async def listed() -> Response:
        """Every receiver, what waits for it, and how what it was told ended."""
        return json({"receivers": panel.notifying.overview()})

    @router.post("/test", dependencies=[needs(Role.OPERATOR)])
    async def test(request: TestRequest) -> Response:
        """Send one test notification now, and answer what came of it."""
        attempt = await panel.notifying.test(request.receiver)
        return json({
            "receiver": request.receiver, "delivered": attempt.fate is Fate.DELIVERED,
            "status": attempt.status, "detail": attempt.detail,
        })  # fmt: skip

    return router
