"""What endpoints follow, in the durable database: every replica reads it, the leader alone changes it.

A change is written with its number, under the leader's fencing token, as the steps of releases are.
"""

from __future__ import annotations

from dataclasses import asdict

import orjson
from sqlalchemy import Connection, insert, select, update

from gates.following import Followed
from gates.releases import StaleStep
from settings.follow import Standing
from storage.tables import FOLLOWED


def every(on: Connection) -> dict[str, Followed]:
    """What each endpoint follows, by its name."""
    rows = on.execute(select(FOLLOWED.c.endpoint, FOLLOWED.c.document))
    return {row.endpoint: _followed(row.document) for row in rows}


def change(on: Connection, to: Followed, token: int) -> None:
    """Keep `to`, whose number is one more than that of what it follows on. Raises StaleStep when something
    else was kept meanwhile, or with a higher token."""
    values = {"steps": to.steps, "token": token, "document": _document(to)}
    changed = on.execute(
        update(FOLLOWED)
        .where(
            FOLLOWED.c.endpoint == to.endpoint, FOLLOWED.c.steps == to.steps - 1, FOLLOWED.c.token <= token
        )
        .values(**values)
    )
    if changed.rowcount == 1:
        return
    there = on.execute(select(FOLLOWED.c.steps).where(FOLLOWED.c.endpoint == to.endpoint)).scalar()
    if there is not None or to.steps != 1:
        raise StaleStep(f"change {to.steps} of what {to.endpoint} follows was not to be made")
    on.execute(insert(FOLLOWED), [{"endpoint": to.endpoint, **values}])


def _document(one: Followed) -> bytes:
    return orjson.dumps({**asdict(one), "standing": tuple(one.standing)})


def _followed(document: bytes) -> Followed:
    found = orjson.loads(document)
    return Followed(**{**found, "standing": Standing(*found["standing"]), "former": tuple(found["former"])})
