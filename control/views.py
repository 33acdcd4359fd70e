"""What the admin API shows of an endpoint, as values that can be written as JSON."""

from __future__ import annotations

import math

from comparators.comparison import Comparison
from control.clock import iso, iso_or_none
from control.judge import Judge
from control.showcase import LONGEST_BODY, Shown
from control.switchboard import Switchboard
from control.trip import Trip
from domain.observation import Observation
from domain.routing import Version
from killswitch.guards import GuardReport

MOST_EVIDENCE = 1e300


def endpoint(switchboard: Switchboard, name: str, shed: int) -> dict[str, object]:
    """The endpoint `name`, as in docs/admin-api.md; `shed` counts pairs lost to the backlog.

    Raises UnknownEndpoint.
    """
    judge = switchboard.judge(name)
    settings = judge.settings
    return {
        "endpoint": name,
        "path": settings.path,
        "protocol": settings.protocol,
        "flag": settings.flag,
        "incumbent": _version(settings.incumbent),
        "candidate": None if settings.candidate is None else _version(settings.candidate),
        "switch": _switch(switchboard, judge),
        "release": _release(judge),
        "guards": [_guard(report) for report in judge.reports()],
        "verdict": judge.verdict.value,
        "pairs": {
            "judged": judge.tally.judged,
            "flips": judge.tally.flips,
            "faults": judge.tally.faults,
            "stale": judge.tally.stale,
            "shed": shed,
        },
        "last_trip": None if judge.last_trip is None else _trip(judge.last_trip),
        "generation": switchboard.snapshot.generation,
        "workers": [
            {"worker": one.number, "generation": one.generation, "pid": one.pid}
            for one in switchboard.link.workers
        ],
        "config_digest": switchboard.settings.digest,
    }


def pair(comparison: Comparison, shown: Shown) -> dict[str, object]:
    """A pair with both predictions."""
    judged = shown.judged
    one, found = judged.pair, judged.divergence
    return {
        "request_id": one.request_id,
        "at": iso(one.at),
        "served": one.served.value,
        "score": None if found is None else _finite(found.score),
        "flip": False if found is None else found.flip,
        "reason": judged.fault or ("not compared" if found is None else found.reason),
        "incumbent": _observation(comparison, one.incumbent, shown.incumbent_length),
        "candidate": _observation(comparison, one.candidate, shown.candidate_length),
    }


def _switch(switchboard: Switchboard, judge: Judge) -> dict[str, object]:
    state = switchboard.kill_state(judge.settings.name)
    return {
        "tripped": switchboard.tripped(judge.settings.name),
        "kills": [
            {
                "id": kill.id,
                "actor": kill.actor,
                "reason": kill.reason,
                "at": iso(kill.at),
                "version": kill.version,
            }
            for kill in state.uncleared
        ],
        "breakers": [
            {"worker": number, "reason": reason} for number, reason in sorted(judge.breakers.items())
        ],
        "unreadable": switchboard.unreadable,
    }


def _release(judge: Judge) -> dict[str, object]:
    stage = judge.stage
    return {
        "stage": judge.progress.stage,
        "stages": len(judge.settings.plan),
        "mode": stage.mode.value,
        "weight": stage.weight / 10_000,
        "pairs": judge.progress.pairs,
        "pairs_needed": stage.pairs,
        "since": iso(judge.progress.since),
    }


def _guard(report: GuardReport) -> dict[str, object]:
    return {
        "guard": report.guard,
        "verdict": report.verdict.value,
        "estimate": _finite(report.estimate),
        "limit": report.limit,
        "evidence": _finite(report.evidence),
        "threshold": report.threshold,
        "count": report.count,
        "sentence": report.sentence,
    }


def _trip(trip: Trip) -> dict[str, object]:
    return {
        "kill": trip.kill,
        "cause": trip.cause,
        "reason": trip.reason,
        "first_bad_at": iso_or_none(trip.first_bad_at),
        "breach_at": iso(trip.breach_at),
        "trip_at": iso(trip.trip_at),
        "confirmed_at": iso_or_none(trip.confirmed_at),
        "trip_ms": trip.trip_ms,
        "last_bad_served_at": iso_or_none(trip.last_bad_served_at),
        "detection_pairs": trip.detection_pairs,
        "estimate": _finite(trip.estimate),
        "tolerance": trip.tolerance,
        "evidence": _finite(trip.evidence),
        "sentence": trip.sentence,
    }


def _version(version: Version) -> dict[str, object]:
    return {"version": version.name, "urls": [str(one) for one in version.upstreams]}


def _observation(comparison: Comparison, one: Observation, length: int) -> dict[str, object]:
    prediction: object
    if length > LONGEST_BODY:
        prediction = f"{length} bytes, too long to show"
    else:
        prediction = comparison.describe(one.body)
    return {
        "version": one.version,
        "outcome": one.outcome.value,
        "status": one.status,
        "latency_ms": one.latency * 1000,
        "prediction": prediction,
    }


def _finite(number: float | None) -> float | None:
    """JSON knows no infinity: evidence beyond all bounds reads 1e300."""
    if number is None or math.isnan(number):
        return None
    return min(max(number, -MOST_EVIDENCE), MOST_EVIDENCE)
