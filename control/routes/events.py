"""Server-sent events (WHATWG HTML, section 9.2): what happens, as it happens."""

from __future__ import annotations

from collections.abc import AsyncIterator

import orjson
from fastapi import APIRouter
from starlette.responses import StreamingResponse

from control.answers import SAFE_HEADERS
from control.events import Event, Events, Listener
from control.panel import Panel

HEARTBEAT = 10.0
"""Seconds without an event after which a comment is sent, so that a dead reader is noticed."""


def routes(panel: Panel) -> APIRouter:
    """`/api/v1/events`."""
    router = APIRouter(prefix="/api/v1", tags=["events"])

    @router.get("/events", response_class=StreamingResponse)
    async def events() -> StreamingResponse:
        """Trips, re-arms, stages, configurations and flags from now on, until either side leaves."""
        listener = panel.events.listen()
        return StreamingResponse(_told(panel.events, listener), 200, SAFE_HEADERS, "text/event-stream")

    return router


async def _told(events: Events, listener: Listener) -> AsyncIterator[bytes]:
    try:
        yield b": connected\n\n"
        while not listener.ended:
            event = await listener.next(HEARTBEAT)
            if event is not None:
                yield encoded(event)
            elif not listener.ended:
                yield b":\n\n"
    finally:
        events.leave(listener)


def encoded(event: Event) -> bytes:
    """`event` as the bytes of one message of the stream."""
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (
        event.number,
        event.kind.encode(),
        orjson.dumps(dict(event.data)),
    )
