"""Exchanges that are bounded in number or written to the access log.

A worker makes these in place of plain ones only when its configuration asks for either, so that who does not
ask pays nothing for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from domain.observation import Outcome
from domain.routing import Decision
from gateway.access_log import Access
from gateway.concurrency import Gate
from gateway.exchange import CLIENT_LEFT, Exchange
from gateway.message import RequestMessage
from gateway.service import ServedEndpoint

if TYPE_CHECKING:
    from gateway.client import ClientConnection
    from gateway.worker import Worker

GATEWAY_TIMEOUT = 504


class WatchedExchange(Exchange):
    """Enters its endpoint's gate when it is decided, and leaves it when it is settled."""

    __slots__ = ("_gate", "_host")

    def __init__(
        self, client: ClientConnection, worker: Worker, service: ServedEndpoint, message: RequestMessage,
        began: float,
    ) -> None:  # fmt: skip
        super().__init__(client, worker, service, message, began)
        self._host = worker
        self._gate: Gate | None = None

    def _dispatch(self, service: ServedEndpoint, now: float) -> None:
        gate = self._host.gates.get(service.name)
        if gate is not None:
            if not gate.enter():
                self._host.event("request_shed")
                reason = "as many requests as are allowed at once are being answered"
                self._answer_problem(Outcome.OVERLOAD, reason, now)
                return
            self._gate = gate
        super()._dispatch(service, now)

    def _mirror(self, decision: Decision) -> None:
        gate = self._gate
        if gate is None or not gate.crowded:
            super()._mirror(decision)
            return
        service = self._service
        eligible = decision.mirror is not None and self.message.kept
        if eligible and self._worker.sampler.sampled(service.budget.limits.share):
            service.mirrored["dropped"] += 1

    def _settle(self, status: int, now: float) -> None:
        if self._settled:
            return
        gate, self._gate = self._gate, None
        if gate is not None:
            # An error is quick and says nothing about load; a timeout says that it is too much.
            tells = (status < 500 and status != CLIENT_LEFT) or status == GATEWAY_TIMEOUT
            gate.leave(now, self._served_in(now) if tells else None)
        access = self._host.access
        if access is not None and access.sampled():
            message, version = self.message, self._version
            access.record(
                Access(
                    self._host.wall(), self._client.peer, message.method, message.path, self._service.name,
                    version.name, version.arm.value, status, now - self._began, message.size,
                    message.request_id,
                )
            )  # fmt: skip
        super()._settle(status, now)

    def _served_in(self, now: float) -> float:
        """Seconds that the server took which the client was answered from."""
        return now - self._asked
