"""The OpenAPI document of the admin API, with what each route asks of its caller."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from control.authentication import SAFE_METHODS, Gatehouse
from control.roles import Role, declared, each

_PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
_SCHEMA = {
    "title": "Problem",
    "description": "RFC 9457; other members may follow",
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"const": "about:blank"},
        "title": {"type": "string", "minLength": 1},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string", "minLength": 1},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "detail"],
                "properties": {"field": {"type": "string"}, "detail": {"type": "string"}},
            },
        },
    },
}
_TEXTS = {
    "/metrics": ("text/plain", "application/openmetrics-text"),
    "/metrics/models": ("text/plain",),
    "/api/v1/audit/export": ("application/jsonl",),
    "/api/v1/events": ("text/event-stream",),
}
"""Answers that are no JSON document."""

_MEMBERS = {
    "/healthz": "alive",
    "/readyz": "ready generation workers store flags config_digest degraded",
    "/api/v1/endpoints": "endpoints",
    "/api/v1/endpoints/{endpoint}": "endpoint path protocol flag incumbent candidate switch release guards "
    "verdict warnings cohorts paths drift accuracy pairs last_trip generation workers config_digest",
    "/api/v1/endpoints/{endpoint}/kill": "kill generation confirmed_ms workers durable shared",
    "/api/v1/endpoints/{endpoint}/rearm": "cleared generation",
    "/api/v1/endpoints/{endpoint}/pairs": "pairs",
    "/api/v1/endpoints/{endpoint}/accuracy": "endpoint kind by since until groups failure",
    "/api/v1/endpoints/{endpoint}/drift": "endpoint condition problem reference columns latency",
    "/api/v1/endpoints/{endpoint}/drift/relearn": "endpoint condition problem reference",
    "/api/v1/endpoints/{endpoint}/history": "endpoint span began step next at columns marks",
    "/api/v1/config": "digest configuration inert followed",
    "/api/v1/config/reload": "digest changed generation inert",
    "/api/v1/flags/status": "source condition problem generation",
    "/api/v1/flags/refresh": "generation features",
    "/api/v1/audit": "size events",
    "/api/v1/audit/search": "size events before looked_at",
    "/api/v1/audit/verify": "intact size waiting failure problem key head",
    "/api/v1/audit/{sequence}/proof": "sequence size leaf root path",
    "/api/v1/live": "at endpoints configurations",
    "/api/v1/replicas": "shared replicas logs",
    "/api/v1/gates/{endpoint}": "endpoint verdict results detail void",
    "/api/v1/gates/{endpoint}/run": "endpoint verdict results detail void",
    "/api/v1/releases/{release}": "id endpoint phase stage reason tier waits_for approvals history",
    "/api/v1/releases/{release}/abort": "id endpoint phase stage reason tier waits_for approvals",
    "/api/v1/releases/{release}/approve": "id endpoint phase stage reason tier waits_for approvals",
    "/api/v1/drills/{drill}": "id endpoint version state passed reason by fault",
    "/api/v1/notifications": "receivers",
    "/api/v1/notifications/test": "receiver delivered status detail",
    "/api/v1/diagnoses/{endpoint}": "endpoint signal before after axis explanations concentrations "
    "changes notes",
    "/api/v1/lineage/refresh": "versions",
    "/api/v1/whoami": "name authentication role endpoints expires",
    "/api/v1/overview": "endpoints generation config_digest workers shortcomings degraded",
}
"""What a JSON answer always holds, by its path."""

_ALWAYS = {"403": "not from here, or not their role", "421": "a Host that is not ours"}
_GIVEN = {"404": "there is no such thing", "422": "a value that is not allowed"}
_CHANGES = {
    "400": "a body that is no text",
    "409": "not as things stand",
    "413": "a body that is too long",
    "415": "a body that is no JSON",
    "422": "a value that is not allowed",
}
_UNAVAILABLE = {"503": "what is kept or shared cannot be had now"}


def described(app: FastAPI, gatehouse: Gatehouse) -> dict[str, Any]:
    """The document; `x-role` names the role that a route needs."""
    document: dict[str, Any] = app.openapi()
    document.setdefault("components", {})["securitySchemes"] = {
        "token": {
            "type": "http",
            "scheme": "bearer",
            "description": "a token of this gateway, or the issuer's",
        },
        "session": {"type": "apiKey", "in": "cookie", "name": gatehouse.cookie},
    }
    schemas = document["components"].setdefault("schemas", {})
    schemas["Problem"] = _SCHEMA
    for route in each(app.routes):
        needs = declared(route)
        path = getattr(route, "path", "")
        operations = document["paths"].get(path, {})
        for method in getattr(route, "methods", ()):
            operation = operations.get(method.lower())
            if operation is not None and needs is not None:
                _describe(operation, path, method, needs.role, asked=gatehouse.settings.configured)
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    return document


def _describe(operation: dict[str, Any], path: str, method: str, role: Role, *, asked: bool) -> None:
    operation["x-role"] = role.word
    operation["security"] = [{"token": []}, {"session": []}] if asked and role else []
    answers = {**_ALWAYS, **_UNAVAILABLE}
    if operation.get("parameters") or "requestBody" in operation:
        answers |= _GIVEN
    if method not in SAFE_METHODS:
        answers |= _CHANGES
    if asked and role:
        answers["401"] = "nobody is known by what was shown"
    if asked:
        answers["429"] = "too many changes, or failures, in a minute"
    texts = _TEXTS.get(path)
    if texts is not None:
        operation["responses"]["200"]["content"] = {one: {"schema": {"type": "string"}} for one in texts}
    if path in _MEMBERS:
        document = {"type": "object", "required": _MEMBERS[path].split()}
        operation["responses"]["200"]["content"] = {"application/json": {"schema": document}}
    for status, meaning in answers.items():
        operation["responses"][status] = {"description": meaning, "content": _PROBLEM}
