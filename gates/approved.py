"""Approvals in the durable database: added, never changed or taken away."""

from __future__ import annotations

from dataclasses import asdict

from sqlalchemy import Connection, insert, select

from gates.approvals import Approval
from storage.tables import APPROVALS


def keep(on: Connection, approval: Approval) -> None:
    """Keep `approval`."""
    on.execute(insert(APPROVALS), [asdict(approval)])


def of_release(on: Connection, release: str) -> tuple[Approval, ...]:
    """Every approval of the release whose id is `release`, in the order in which they were given."""
    columns = (
        APPROVALS.c.release, APPROVALS.c.subject, APPROVALS.c.by, APPROVALS.c.authentication,
        APPROVALS.c.reason, APPROVALS.c.at,
    )  # fmt: skip
    query = select(*columns).where(APPROVALS.c.release == release).order_by(APPROVALS.c.position)
    return tuple(Approval(*row) for row in on.execute(query))
