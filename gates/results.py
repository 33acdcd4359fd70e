"""Results of gates in the durable database: kept for ever, so that it can be said why a release went on."""

from __future__ import annotations

from collections.abc import Sequence

import orjson
from sqlalchemy import Connection, insert, select

from gates.result import GateResult, restored
from storage.tables import GATE_RESULTS


def keep(on: Connection, run: str, results: Sequence[GateResult]) -> None:
    """Keep the results of gates that were executed together, as `run`."""
    if results:
        rows = [
            {
                "run": run,
                "endpoint": one.binding.endpoint,
                "gate": one.gate,
                "verdict": one.verdict.value,
                "ended": one.ended,
                "document": orjson.dumps(one.document()),
            }
            for one in results
        ]
        on.execute(insert(GATE_RESULTS), rows)


def latest(on: Connection, endpoint: str) -> tuple[GateResult, ...]:
    """The results of the last run for `endpoint`, in the order of execution; empty when there was none."""
    of_endpoint = GATE_RESULTS.c.endpoint == endpoint
    newest = select(GATE_RESULTS.c.run).where(of_endpoint).order_by(GATE_RESULTS.c.position.desc()).limit(1)
    run = on.execute(newest).scalar()
    rows = on.execute(
        select(GATE_RESULTS.c.document)
        .where(of_endpoint, GATE_RESULTS.c.run == run)
        .order_by(GATE_RESULTS.c.position)
    )
    return tuple(restored(orjson.loads(row.document)) for row in rows)
