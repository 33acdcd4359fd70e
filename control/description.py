"""The OpenAPI document of the admin API, with what each route asks of its caller."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from control.authentication import SAFE_METHODS, Gatehouse
from control.roles import Role, declared, each

_PROBLEM = {"application/problem+json": {"schema": {"type": "object"}}}


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
    for route in each(app.routes):
        needs = declared(route)
        operations = document["paths"].get(getattr(route, "path", ""), {})
        for method in getattr(route, "methods", ()):
            operation = operations.get(method.lower())
            if operation is not None and needs is not None:
                _describe(operation, method, needs.role, asked=gatehouse.settings.configured)
    return document


def _describe(operation: dict[str, Any], method: str, role: Role, *, asked: bool) -> None:
    operation["x-role"] = role.word
    operation["security"] = [{"token": []}, {"session": []}] if asked and role else []
    answers = (
        {} if not asked or not role else {"401": "nobody is known by what was shown", "403": "not their role"}
    )
    if asked and method not in SAFE_METHODS:
        answers["429"] = "too many changes in a minute"
    for status, meaning in answers.items():
        operation["responses"].setdefault(status, {"description": meaning, "content": _PROBLEM})
