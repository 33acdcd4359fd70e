"""Records of the prediction log, made for tests."""

from __future__ import annotations

from typing import Any

from domain.routing import Arm
from monitoring.log.record import Mirrored, PredictionRecord

MIRRORED = Mirrored("rain-2", 200, 0.25, ("dry",), 0.5)


def record(number: int = 0, **given: Any) -> PredictionRecord:
    """A whole one; `given` replaces fields."""
    return PredictionRecord(
        request_id=f"id-{number}",
        endpoint="rain",
        at=1000.0 + number,
        unit=number + 1,
        arm=Arm.INCUMBENT,
        version="rain-1",
        status=200,
        latency=0.125,
        generation=7,
        configuration="c" * 64,
        reason="shadow stage",
        drill="",
        features={"rain": float(number), "kind": "wet", "missing": None},
        predictions=("rain",),
        confidence=0.75,
        cohorts=("eu", None),
        input_digest="d" * 64,
        input=b"",
        mirrored=MIRRORED if number % 2 else None,
    )._replace(**given)
