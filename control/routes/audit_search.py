"""Searching the audit chain, newest first."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from audit import search, store, times
from audit.search import Found, Wanted
from control import live_view
from control.answers import json
from control.panel import Panel
from control.roles import Role, needs
from domain.errors import ConfigError

Text = Annotated[str, Query(max_length=200)]
Before = Annotated[int | None, Query(ge=1, le=2**53)]
Limit = Annotated[int, Query(ge=1, le=200)]


def routes(panel: Panel) -> APIRouter:
    """`/api/v1/audit/search`."""
    router = APIRouter(prefix="/api/v1/audit", tags=["audit"])
    keeper, recorder = panel.switchboard.keeper, panel.switchboard.recorder

    @router.get("/search", dependencies=[needs(Role.VIEWER)])
    async def look(
        action: Text = "", name: Text = "", actor: Text = "", text: Text = "",
        since: Text = "", until: Text = "", before: Before = None, limit: Limit = 50,
    ) -> Response:  # fmt: skip
        """Records that match, newest first. `before` in the answer: where to go on; null: nothing is left."""
        await recorder.flush()
        size = (await keeper.run(lambda database: database.read(store.tip))).size
        wanted = Wanted(action, name, actor, text, _instant("since", since), _instant("until", until))
        place, looked_at, kept = size + 1 if before is None else before, 0, list[Found]()
        while place > 1 and looked_at < search.MOST_LOOKED_AT and len(kept) < limit:
            page = partial(search.page, before=place, most=search.PAGE, wanted=wanted)
            # The store's thread is free between two pages: kills need it.
            rows = await keeper.run(lambda database, page=page: database.read(page))  # type: ignore[misc]
            looked_at += len(rows)
            place = rows[-1][0] if len(rows) == search.PAGE else 1
            kept += await asyncio.to_thread(search.found, rows, wanted)
        if len(kept) > limit:
            kept = kept[:limit]
            place = kept[-1].sequence
        return json(
            {
                "size": size,
                "events": [_shown(one) for one in kept],
                "before": place if place > 1 else None,
                "looked_at": looked_at,
            }
        )

    return router


def _shown(one: Found) -> dict[str, object]:
    if one.event is None:
        return {"sequence": one.sequence, "erased": True, "hash": one.hash.hex()}
    return {**live_view.shown(one.sequence, one.event), "hash": one.hash.hex()}


def _instant(key: str, given: str) -> int | None:
    """The instant in microseconds; None without one. Raises ConfigError."""
    if not given:
        return None
    try:
        return times.parse(given)
    except ValueError as error:
        raise ConfigError(key, given, times.ALLOWED) from error
