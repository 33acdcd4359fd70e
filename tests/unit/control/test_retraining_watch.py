"""Drift that a guard has proved is told once for a trial, by whoever leads."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from control.events import Event
from control.judge import Judge
from control.notify_retraining import RetrainingWatch
from domain.verdict import Verdict
from tests.support.control import here

RETRAIN = {"kind": "airflow", "url": "https://a.example", "dag": "train", "token_env": "KEY"}
ENDPOINT: dict[str, Any] = {
    "guards": {"flips": {"rate": "1%"}, "drift": {"shift": "10%"}},
    "retrain": RETRAIN,
}


def test_drift_is_told_when_it_becomes_a_fail_and_once_for_a_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verdicts, leads = [Verdict.INCONCLUSIVE], [True]
    reports = Judge.reports

    def bad(self: Judge) -> Any:
        return tuple(
            replace(one, verdict=verdicts[0], sentence="features differ") if one.guard == "drift" else one
            for one in reports(self)
        )

    async def scenario() -> None:
        async with here(tmp_path, **ENDPOINT) as control:
            told: list[Event] = []
            control.control.events.react("drift", told.append)
            watch = RetrainingWatch(control.control.switchboard, control.control.events, lambda: leads[0])
            monkeypatch.setattr(Judge, "reports", bad)
            await watch.look()
            assert told == []
            verdicts[0], leads[0] = Verdict.FAIL, False
            await watch.look()
            assert told == [], "who does not lead is silent"
            leads[0] = True
            await watch.look()
            await watch.look()
            (one,) = told
            assert dict(one.data) == {"endpoint": "rain", "version": "rain-2", "reason": "features differ"}
            control.control.switchboard.judge("rain").evidence_since += 1
            await watch.look()
            assert len(told) == 2, "another trial, another word"

    monkeypatch.setattr("control.notify_retraining.PERIOD", 3600.0)
    asyncio.run(scenario())
