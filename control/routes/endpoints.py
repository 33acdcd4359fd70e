"""Endpoints: their switch, release and guards; kill, re-arm, and the pairs that people look at."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, StringConstraints
from starlette.requests import Request
from starlette.responses import Response

from control import views
from control.answers import json, tagged
from control.identity import of
from control.panel import Panel
from control.roles import Role, needs
from control.showcase import BY_GUARD, MOST
from domain.errors import ConfigError

Reason = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)]
KillId = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Count = Annotated[int | None, Query(ge=1, le=MOST)]

SHOWN = 20


class KillRequest(BaseModel):
    """Why the candidate has to go."""

    model_config = ConfigDict(extra="forbid")

    reason: Reason


class RearmRequest(BaseModel):
    """Why the candidate may come back, and the kills that were looked at; without: those in force now."""

    model_config = ConfigDict(extra="forbid")

    reason: Reason
    kills: Annotated[list[KillId], "ids"] | None = None


def routes(panel: Panel) -> APIRouter:
    """`/api/v1/endpoints` and below."""
    router = APIRouter(prefix="/api/v1/endpoints", tags=["endpoints"])
    board = panel.switchboard

    def shown(name: str) -> dict[str, object]:
        return views.endpoint(board, name, panel.hearing.inbox.shed, panel.lineage)

    @router.get("", dependencies=[needs(Role.VIEWER, anywhere=True)])
    async def endpoints(asked: Request) -> Response:
        """Every endpoint that the caller may look at."""
        who = of(asked)
        found: list[dict[str, object]] = []
        for name in tuple(board.judges):
            if name in board.judges and who.permits(Role.VIEWER, name):
                found.append(shown(name))
            # Each takes some milliseconds: others get the loop between.
            await asyncio.sleep(0)
        return json({"endpoints": found})

    @router.get("/{endpoint}", dependencies=[needs(Role.VIEWER)])
    async def endpoint(endpoint: str, asked: Request, cached: bool = False) -> Response:
        """One endpoint: switch, release, guards with their evidence, the last trip.

        `cached`: it may be a second old, as long as no switch has moved; for those who ask each second.
        """
        return tagged(asked, panel.looks.of(endpoint)) if cached else json(shown(endpoint))

    @router.post("/{endpoint}/kill", dependencies=[needs(Role.OPERATOR)])
    async def kill(endpoint: str, request: KillRequest, asked: Request) -> Response:
        """Take the candidate out; answers when that is durable and every worker has confirmed it."""
        settled = await board.kill(endpoint, request.reason, of(asked))
        return json(
            {
                "kill": settled.kill.id,
                "generation": settled.generation,
                "confirmed_ms": settled.confirmed_ms,
                "workers": settled.workers,
                "durable": settled.durable,
                "shared": settled.shared,
            }
        )

    @router.post("/{endpoint}/rearm", dependencies=[needs(Role.RELEASE)])
    async def rearm(endpoint: str, request: RearmRequest, asked: Request) -> Response:
        """Clear exactly the kills that were seen; the candidate starts again from shadow."""
        ids = None if request.kills is None else frozenset(request.kills)
        cleared, generation = await board.rearm(endpoint, request.reason, ids, of(asked))
        return json({"cleared": sorted(cleared), "generation": generation})

    @router.get("/{endpoint}/pairs", dependencies=[needs(Role.VIEWER)])
    async def pairs(
        endpoint: str, worst: Count = None, latest: Count = None, guard: str = "divergence"
    ) -> Response:
        """The worst pairs by what `guard` watches, or the latest ones, with both predictions."""
        judge = board.judge(endpoint)
        if guard not in BY_GUARD:
            raise ConfigError("guard", guard, f"a guard that speaks of pairs: {', '.join(BY_GUARD)}")
        if latest is not None and worst is None:
            found = judge.showcase.latest(latest)
        else:
            found = judge.showcase.worst(worst or SHOWN, BY_GUARD[guard])
        # Answers are read again for it, and what models write takes its time: not on the loop.
        told = await asyncio.to_thread(lambda: [views.pair(judge.comparison, one) for one in found])
        return json({"pairs": told})

    return router
