"""The admin API as one ASGI application."""

from __future__ import annotations

from importlib.metadata import version

from fastapi import FastAPI

from control import answers
from control.admission import Admission
from control.clock import Clock
from control.panel import Panel
from control.refusals import Refusals
from control.routes import (
    audit,
    configuration,
    decisions,
    diagnoses,
    drills,
    endpoints,
    events,
    gates,
    health,
    labels,
    lineage,
    live,
    notifications,
    releases,
    replicas,
)


def create(panel: Panel) -> FastAPI:
    """The application over `panel`. Its interactive pages are off: they load scripts from elsewhere."""
    app = FastAPI(
        title="Pointsman admin API",
        version=version("pointsman"),
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    answers.install(app)
    app.add_middleware(Admission)
    app.add_middleware(Refusals, recorder=panel.switchboard.recorder, clock=Clock())
    for module in (
        health,
        endpoints,
        labels,
        configuration,
        events,
        audit,
        live,
        replicas,
        gates,
        releases,
        drills,
        notifications,
        decisions,
        diagnoses,
        lineage,
    ):
        app.include_router(module.routes(panel))
    return app
