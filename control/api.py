"""The admin API as one ASGI application."""

from __future__ import annotations

from importlib.metadata import version

from fastapi import FastAPI
from starlette.responses import Response

from control import answers
from control.admission import Admission
from control.authentication import Authentication
from control.clock import Clock
from control.description import described
from control.panel import Panel
from control.protection import Protection
from control.refusals import Refusals
from control.roles import Role, demand_roles, needs
from control.routes import (
    accuracy,
    audit,
    audit_search,
    configuration,
    console,
    decisions,
    diagnoses,
    drift,
    drills,
    endpoints,
    events,
    gates,
    health,
    labels,
    lineage,
    live,
    login,
    notifications,
    overview,
    releases,
    replicas,
    whoami,
)
from settings.auth import loopback


def create(panel: Panel) -> FastAPI:
    """The application over `panel`. Its interactive pages are off: they load scripts from elsewhere."""
    app = FastAPI(
        title="Pointsman admin API",
        version=version("pointsman"),
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    answers.install(app)
    access = panel.gatehouse.settings
    app.add_middleware(Authentication, gatehouse=panel.gatehouse)
    app.add_middleware(Admission, access=access, local=loopback(panel.switchboard.settings.admin.host))
    app.add_middleware(Refusals, recorder=panel.switchboard.recorder, clock=Clock())
    app.add_middleware(Protection, access=access)
    for module in (
        health,
        endpoints,
        labels,
        accuracy,
        configuration,
        events,
        audit,
        audit_search,
        live,
        replicas,
        gates,
        releases,
        drills,
        notifications,
        decisions,
        diagnoses,
        drift,
        lineage,
        whoami,
        login,
        overview,
        console,
    ):
        app.include_router(module.routes(panel))

    @app.get("/openapi.json", include_in_schema=False, dependencies=[needs(Role.NOBODY)])
    async def document() -> Response:
        return answers.json(described(app, panel.gatehouse))

    demand_roles(app.routes)
    return app
