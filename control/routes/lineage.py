"""Lineage: asking the registries now, such as when an alias was moved."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from control.answers import json
from control.panel import Panel
from control.roles import Role, needs
from domain.routing import Arm


def routes(panel: Panel) -> APIRouter:
    """`/api/v1/lineage`."""
    router = APIRouter(prefix="/api/v1/lineage", tags=["lineage"])

    @router.post("/refresh", dependencies=[needs(Role.OPERATOR)])
    async def refresh() -> Response:
        """Ask the registries now instead of at the next poll: for a webhook that tells of a moved alias."""
        await panel.lineage.look()
        found: list[dict[str, object]] = []
        for one in panel.switchboard.settings.endpoints:
            versions = (Arm.INCUMBENT, one.incumbent), (Arm.CANDIDATE, one.candidate)
            for arm, version in versions:
                if version is not None:
                    held = panel.lineage.of(one.name, arm)
                    found.append(
                        {
                            "endpoint": one.name, "version": version.name, "condition": held.condition,
                            "reason": held.problem,
                        }
                    )  # fmt: skip
        return json({"versions": found})

    return router
