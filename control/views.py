"""What the admin API shows of an endpoint, as values that can be written as JSON."""

from __future__ import annotations

import heapq
import math
import operator

from comparators.comparison import Comparison
from comparators.path_noise import PathFinding, PathNoise, Rate
from control import lineage_view
from control.clock import iso, iso_or_none
from control.cohorts import CohortFinding
from control.differences import differences
from control.judge import Judge
from control.lineage import Held, LineageDesk
from control.showcase import BY_GUARD, LONGEST_BODY, Shown
from control.switchboard import Switchboard
from control.trip import Trip
from domain.observation import Observation
from domain.routing import Arm, Version
from killswitch.guards import GuardReport
from settings.schema import Stage

MOST_EVIDENCE = 1e300
WORST = 3
MOST_SHOWN = 20
"""Cohorts, paths and features."""


def endpoint(switchboard: Switchboard, name: str, shed: int, lineage: LineageDesk) -> dict[str, object]:
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
        "incumbent": _version(settings.incumbent, lineage.of(name, Arm.INCUMBENT)),
        "candidate": None
        if settings.candidate is None
        else _version(settings.candidate, lineage.of(name, Arm.CANDIDATE)),
        "switch": _switch(switchboard, judge),
        "release": _release(judge),
        "guards": [{**_guard(report), "worst": _worst(judge, report.guard)} for report in judge.reports()],
        "verdict": judge.verdict.value,
        "warnings": list(judge.guards.clustering().warnings),
        "cohorts": [_cohort(one) for one in judge.cohorts.findings(MOST_SHOWN)],
        "paths": [] if judge.paths is None else [_path(one) for one in noisiest(judge.paths, MOST_SHOWN)],
        "drift": [
            {"feature": feature, "shift": shift}
            for feature, shift in heapq.nlargest(
                MOST_SHOWN, judge.guards.drifts().items(), key=operator.itemgetter(1)
            )
        ],
        "accuracy": [
            {
                "cohort": cohort,
                "labels": count,
                "incumbent": incumbent / count,
                "candidate": candidate / count,
            }
            for cohort, (count, incumbent, candidate) in judge.accuracy.counts.items()
        ],
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
    one, found, noise = judged.pair, judged.divergence, judged.noise
    incumbent = _observation(comparison, one.incumbent, shown.incumbent_length)
    candidate = _observation(comparison, one.candidate, shown.candidate_length)
    return {
        "request_id": one.request_id,
        "at": iso(one.at),
        "served": one.served.value,
        "score": None if found is None else _finite(found.score),
        "flip": False if found is None else found.flip,
        "reason": judged.fault or ("not compared" if found is None else found.reason),
        "incumbent": incumbent,
        "candidate": candidate,
        "diff": [] if found is None else differences(incumbent["prediction"], candidate["prediction"]),
        "paths": [] if found is None else list(found.paths[:MOST_SHOWN]),
        "noise": None if noise is None else {"score": _finite(noise.score), "flip": noise.flip},
        "cohorts": list(one.cohorts),
    }


def noisiest(paths: PathNoise, most: int) -> tuple[PathFinding, ...]:
    """The paths that differ more often between the arms, so many at most, with their intervals.

    Intervals take time to work out, so that is done only for those that are shown.
    """
    dumped = paths.dump()
    counts = dumped["paths"]
    seen = max(1, int(str(dumped["arms"]))), max(1, int(str(dumped["noise"])))
    if isinstance(counts, dict):
        order = sorted(counts, key=lambda path: counts[path][1] / seen[1] - counts[path][0] / seen[0])
        dumped["paths"] = {path: counts[path] for path in order[:most]}
    return PathNoise.load(dumped, paths.error, paths.margin).findings()


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
        "plan": [_stage(one) for one in judge.settings.plan],
        "watch_seconds": judge.settings.watch,
        "patience_seconds": judge.settings.patience,
        "gated": judge.settings.gates.configured,
        "approvals": judge.settings.approvals.people,
    }


def _stage(stage: Stage) -> dict[str, object]:
    return {
        "mode": stage.mode.value,
        "weight": stage.weight / 10_000,
        "pairs": stage.pairs,
        "at_least_seconds": stage.at_least,
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
        "bound_low": _finite(report.bound_low),
        "bound_high": _finite(report.bound_high),
        "pairs_needed": report.pairs_needed,
        "certified": report.certified,
        "soft": report.soft,
        "cohort": report.cohort,
        "rising_since": iso_or_none(report.rising_since),
        "rising_count": report.rising_count,
    }


def _worst(judge: Judge, guard: str) -> list[str]:
    """The request ids of the worst pairs by what the guard watches; none where it does not speak of pairs."""
    measure = BY_GUARD.get(guard)
    found = [] if measure is None else judge.showcase.worst(WORST, measure)
    return [shown.judged.pair.request_id for shown in found]


def _cohort(found: CohortFinding) -> dict[str, object]:
    return {
        "cohort": found.cohort,
        "votes": found.votes,
        "mean": found.mean,
        "rest": found.rest,
        "low": found.low,
        "rest_high": found.rest_high,
        "excess": found.excess,
        "certain": found.certain,
    }


def _path(found: PathFinding) -> dict[str, object]:
    return {
        "path": found.path,
        "arms": _rate(found.arms),
        "noise": _rate(found.noise),
        "exceeds": found.exceeds,
        "quiet": found.quiet,
    }


def _rate(rate: Rate) -> dict[str, object]:
    return {
        "differing": rate.differing,
        "comparisons": rate.comparisons,
        "low": rate.low,
        "high": rate.high,
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


def _version(version: Version, held: Held) -> dict[str, object]:
    urls = [str(one) for one in version.upstreams]
    return {"version": version.name, "urls": urls, "lineage": lineage_view.shown(held)}


def _observation(comparison: Comparison, one: Observation, length: int) -> dict[str, object]:
    prediction: object
    if length > LONGEST_BODY:
        prediction = f"{length} bytes, too long to show"
    else:
        prediction = comparison.describe(one)
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
