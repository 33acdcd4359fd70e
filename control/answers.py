"""Answers of the admin API: JSON, and RFC 9457 problem documents for whatever goes wrong."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus

import orjson
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from audit.mlbom import UnknownVersion
from audit.store import UnknownRecord
from control.configuration import RestartNeeded
from control.deciding import UnknownDecision
from control.drilling import DrillRefused, UnknownDrill
from control.events import Crowded
from control.gating import GatesBusy
from control.identity import Forbidden, Unauthenticated
from control.notifying import UnknownReceiver
from control.releasing import ReleaseRefused, UnknownRelease
from control.switchboard import UnknownEndpoint
from domain.errors import ConfigError, GateError, PointsmanError, StaleRearm, StateUnavailable
from gates.approvals import ApprovalRefused
from gates.drills import DrillUnderWay
from gates.releases import AlreadyOpen, StaleStep

PROBLEM = "application/problem+json"

STATUS: tuple[tuple[type[PointsmanError], int], ...] = (
    (Unauthenticated, 401),
    (Forbidden, 403),
    (UnknownEndpoint, 404),
    (UnknownRecord, 404),
    (UnknownVersion, 404),
    (UnknownDecision, 404),
    (UnknownReceiver, 404),
    (StaleRearm, 409),
    (RestartNeeded, 409),
    (UnknownRelease, 404),
    (UnknownDrill, 404),
    (DrillRefused, 409),
    (DrillUnderWay, 409),
    (GatesBusy, 409),
    (AlreadyOpen, 409),
    (ReleaseRefused, 409),
    (ApprovalRefused, 409),
    (StaleStep, 409),
    (ConfigError, 422),
    (GateError, 422),
    (StateUnavailable, 503),
    (Crowded, 503),
)
"""The first class that fits gives the status."""

_HEADERS = {401: {"www-authenticate": 'Bearer realm="pointsman"'}, 503: {"retry-after": "1"}}

SAFE_HEADERS = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}


def json(data: object, status: int = 200) -> Response:
    """`data` as JSON."""
    return Response(orjson.dumps(data), status, SAFE_HEADERS, "application/json")


def tagged(request: Request, body: bytes) -> Response:
    """`body`, which is JSON, or 304 where the client says that it has just that (RFC 9110 section 13)."""
    tag = f'"{hashlib.blake2b(body, digest_size=8).hexdigest()}"'
    headers = {**SAFE_HEADERS, "etag": tag}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(body, 200, headers, "application/json")


def problem(
    status: int,
    detail: str,
    headers: Mapping[str, str] | None = None,
    more: Mapping[str, object] | None = None,
) -> Response:
    """A problem document (RFC 9457 section 3); `more` are extension members."""
    title = HTTPStatus(status).phrase
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail, **(more or {})}
    return Response(orjson.dumps(body), status, {**SAFE_HEADERS, **(headers or {})}, PROBLEM)


def install(app: FastAPI) -> None:
    """Answer every error of `app` with a problem document."""
    app.add_exception_handler(PointsmanError, _ours)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unexpected)


Handler = Callable[[Request, Exception], Awaitable[Response]]


async def _ours(request: Request, error: Exception) -> Response:
    status = next((status for kind, status in STATUS if isinstance(error, kind)), 500)
    if isinstance(error, ConfigError):
        fields = [{"field": error.path, "value": repr(error.value)[:200], "detail": error.allowed}]
        return problem(status, str(error), more={"errors": fields})
    return problem(status, str(error), _HEADERS.get(status))


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this class
    fields = [{"field": _place(one["loc"]), "detail": str(one["msg"])} for one in error.errors()]
    named = "; ".join(f"{one['field']}: {one['detail']}" for one in fields)
    return problem(422, named, more={"errors": fields})


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class
    details = {
        404: f"there is nothing at {request.url.path}; the routes are listed at /openapi.json",
        405: f"{request.method} is not possible at {request.url.path}",
    }
    return problem(error.status_code, details.get(error.status_code, str(error.detail)), error.headers)


async def _unexpected(request: Request, error: Exception) -> Response:
    """The server logs the traceback; the client gets none."""
    return problem(500, "this should not have happened; the control process has logged what did")


def _place(location: Sequence[object]) -> str:
    return ".".join(str(part) for part in location)
