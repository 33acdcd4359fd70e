"""Accuracy: how good every version's predictions were, as labels tell."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from control.accuracy import split
from control.answers import json
from control.panel import Panel
from control.roles import Role, needs

Text = Annotated[str | None, Query(max_length=200)]


def routes(panel: Panel) -> APIRouter:
    """`/api/v1/endpoints/{endpoint}/accuracy`."""
    router = APIRouter(prefix="/api/v1/endpoints", tags=["labels"])

    @router.get("/{endpoint}/accuracy", dependencies=[needs(Role.VIEWER)])
    async def accuracy(
        endpoint: str,
        by: Annotated[str, Query(max_length=100)] = "version",
        since: Text = None,
        until: Text = None,
    ) -> Response:
        """Figures from labels by `version`, `cohort` and `time`; without `since`, of seven days."""
        return json(await panel.accuracy.tell(endpoint, split(by), since, until))

    return router
