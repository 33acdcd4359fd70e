"""Who the replicas are, who leads, and how the evidence that they share stands."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from control.answers import json
from control.panel import Panel
from control.roles import Role, needs


def routes(panel: Panel) -> APIRouter:
    """`/api/v1/replicas`."""
    router = APIRouter(prefix="/api/v1", tags=["replicas"])

    @router.get("/replicas", dependencies=[needs(Role.VIEWER)])
    async def replicas() -> Response:
        """The replicas that share state with this one, itself included; none when nothing is shared."""
        membership = panel.membership
        if membership is None:
            return json({"shared": False, "replicas": [], "logs": {}})
        fleet = membership.fleet
        return json(
            {
                "shared": True,
                "store": membership.client.where,
                "condition": "ok" if fleet.failure is None else fleet.failure,
                "replica": membership.presence.replica,
                "leads": fleet.lease.held() is not None,
                "replicas": [
                    {
                        "replica": one.replica,
                        "host": one.host,
                        "version": one.version,
                        "configuration": one.digest,
                        "same_configuration": one not in fleet.strangers,
                        "leads": one.leader,
                    }
                    for one in fleet.replicas
                ],
                "logs": {name: membership.evidence.state(name) for name in panel.switchboard.judges},
            }
        )

    return router
