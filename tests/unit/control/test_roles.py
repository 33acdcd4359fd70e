"""What routes declare: a role each, and what a request is taken to concern."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from starlette.types import Receive, Scope, Send

from control import answers, identity
from control.identity import NOBODY, STRANGER, Identity
from control.roles import BODY, QUERY, Role, demand_roles, needs
from domain.role import Grants

ON_RAIN = Identity("ada", "token:ada", Grants({"rain": Role.RELEASE, "*": Role.VIEWER}))
ONLY_RAIN = Identity("ada", "token:ada", Grants({"rain": Role.RELEASE}))


def _app(who: Identity) -> FastAPI:
    router = APIRouter()

    async def nothing() -> None: ...

    for method, path, role, more in (
        ("GET", "/open", Role.NOBODY, {}),
        ("POST", "/path/{endpoint}", Role.RELEASE, {}),
        ("GET", "/query", Role.VIEWER, {"by": QUERY}),
        ("POST", "/body", Role.RELEASE, {"by": BODY}),
        ("POST", "/all", Role.RELEASE, {}),
        ("GET", "/some", Role.RELEASE, {"anywhere": True}),
    ):
        declared = needs(role, **more)
        router.add_api_route(path, nothing, methods=[method], dependencies=[declared])
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    app.include_router(router)
    answers.install(app)
    demand_roles(app.routes)

    class Known:
        def __init__(self, inner: Any) -> None:
            self.inner = inner

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            identity.found(scope, who)
            await self.inner(scope, receive, send)

    app.add_middleware(Known)
    return app


async def _ask(who: Identity, method: str, path: str, body: object) -> int:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(_app(who)), base_url="http://a") as client:
        return (await client.request(method, path, json=body)).status_code


@pytest.mark.parametrize(
    ("who", "method", "path", "body", "status"),
    [
        (STRANGER, "GET", "/open", None, 200),
        (STRANGER, "GET", "/some", None, 401),
        (STRANGER, "POST", "/all", {}, 401),
        (NOBODY, "POST", "/all", {}, 200),
        (ON_RAIN, "POST", "/path/rain", {}, 200),
        (ON_RAIN, "POST", "/path/wind", {}, 403),
        (ONLY_RAIN, "GET", "/query?endpoint=rain", None, 200),
        (ONLY_RAIN, "GET", "/query?endpoint=wind", None, 403),
        (ONLY_RAIN, "GET", "/query?endpoint=rain&endpoint=wind", None, 403),
        (ONLY_RAIN, "GET", "/query", None, 403),
        (ON_RAIN, "GET", "/query", None, 200),
        (ONLY_RAIN, "POST", "/body", {"endpoint": "rain"}, 200),
        (ONLY_RAIN, "POST", "/body", {"endpoint": "wind"}, 403),
        (ONLY_RAIN, "POST", "/body", {"endpoint": ["rain"]}, 403),
        (ONLY_RAIN, "POST", "/body", {}, 403),
        (ONLY_RAIN, "GET", "/some", None, 200),
        (Identity("bob", "token:bob", Grants.everywhere(Role.OPERATOR)), "GET", "/some", None, 403),
        # What a caller writes where the route does not look says nothing.
        (ONLY_RAIN, "POST", "/all?endpoint=rain", {"endpoint": "rain"}, 403),
        (ONLY_RAIN, "POST", "/path/wind?endpoint=rain", {"endpoint": "rain"}, 403),
    ],
)
def test_the_role_on_what_is_named_decides(
    who: Identity, method: str, path: str, body: object, status: int
) -> None:
    assert asyncio.run(_ask(who, method, path, body)) == status


def test_a_route_without_a_role_is_refused() -> None:
    app = FastAPI()
    with pytest.raises(TypeError, match=r"no role is declared by .*/openapi\.json"):
        demand_roles(app.routes)
    router = APIRouter()
    router.add_api_route("/forgotten", lambda: None)
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    app.include_router(router)
    with pytest.raises(TypeError, match=r"GET /forgotten"):
        demand_roles(app.routes)
    router = APIRouter()
    twice = [needs(Role.NOBODY), needs(Role.ADMIN)]
    router.add_api_route("/twice", lambda: None, dependencies=twice)
    with pytest.raises(TypeError, match=r"GET /twice"):
        demand_roles(router.routes)
