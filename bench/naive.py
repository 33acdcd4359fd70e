"""A gateway as most people would write it: FastAPI, httpx, the answer streamed, mirrors as background tasks.

Started as `uvicorn bench.naive:app` with INCUMBENT, and CANDIDATE if it is to mirror, in the environment.
It has no limits, retries, metrics or ids, and does not look at the mirrors' answers.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
from starlette.background import BackgroundTasks

INCUMBENT = os.environ.get("INCUMBENT", "http://127.0.0.1:8001")
CANDIDATE = os.environ.get("CANDIDATE")
CONNECTIONS = httpx.Limits(max_connections=None, max_keepalive_connections=512)


@asynccontextmanager
async def lifespan(application: FastAPI) -> AsyncIterator[None]:
    async with httpx.AsyncClient(limits=CONNECTIONS, timeout=httpx.Timeout(2.0, read=60.0)) as client:
        application.state.client = client
        yield


app = FastAPI(lifespan=lifespan, openapi_url=None)


@app.api_route("/{path:path}", methods=["GET", "POST", "PUT", "DELETE"])
async def forward(request: Request, path: str) -> StreamingResponse:
    """Pass the request on, mirror it once it is answered."""
    client: httpx.AsyncClient = request.app.state.client
    body = await request.body()
    headers = [(name, value) for name, value in request.headers.raw if name != b"host"]
    onward = client.build_request(request.method, f"{INCUMBENT}/{path}", headers=headers, content=body)
    answer = await client.send(onward, stream=True)
    after = BackgroundTasks()
    after.add_task(answer.aclose)
    if CANDIDATE is not None:
        after.add_task(client.request, request.method, f"{CANDIDATE}/{path}", headers=headers, content=body)
    return StreamingResponse(
        answer.aiter_raw(), status_code=answer.status_code, headers=dict(answer.headers), background=after
    )
