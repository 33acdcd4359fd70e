"""The judge of an endpoint: batches, slices and restarts change nothing of what is found."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from control import records
from control.clock import Clock
from control.judge import Judge
from control.tallies import Tallies
from domain.observation import Pair
from domain.routing import Mode
from domain.verdict import Verdict
from killswitch.guards import GuardReport
from killswitch.references import reference
from settings.parse import parse
from settings.schema import EndpointSettings, Stage
from shadow.wire import RequestCounts
from tests.support.control import document, pair

CLOCK = Clock(wall=lambda: 1000.0, monotonic=lambda: 5.0)


def configured(**endpoint: Any) -> EndpointSettings:
    return parse(document(Path("/nowhere"), **endpoint)).endpoint("rain")


def judge(settings: EndpointSettings | None = None, tallies: Tallies | None = None) -> Judge:
    return Judge(settings or configured(), tallies or Tallies(), CLOCK, 1)


def pairs(count: int, flips: float, seed: int = 1, **more: Any) -> list[Pair]:
    generator = random.Random(seed)
    return [pair(n, 0.9 if generator.random() < flips else 0.5, **more) for n in range(count)]


def numbers(one: Judge) -> list[tuple[float, ...]]:
    return [(r.evidence, r.estimate, r.count, r.bound_low, r.bound_high) for r in one.reports()]


def test_a_breach_is_found_in_batches_of_any_size() -> None:
    bad = pairs(2000, 0.3)
    for size in (1, 16, 256, 2000):
        one = judge()
        breach = None
        for start in range(0, len(bad), size):
            breach = breach or one.judge(bad[start : start + size])
        assert breach is not None
        assert breach.guard == "flips"
        assert one.verdict is Verdict.FAIL


def test_a_restart_goes_on_with_evidence_cohorts_and_paths() -> None:
    settings = configured(
        compare={"kind": "json"}, cohorts=["header:x-country"], shadow={"noise_share": "50%"}
    )
    first = judge(settings)
    stream = [
        one._replace(cohorts=("NZ" if n % 3 else "AU",), repeat=one.incumbent if n % 2 else None)
        for n, one in enumerate(pairs(400, 0.2))
    ]
    first.judge(stream)
    second = judge(settings)
    record = records.decode(records.encode(first.record(0)))
    assert second.restore(record, 0) is None
    for one in (first, second):
        one.judge(pairs(100, 0.2, seed=2, cohorts=("NZ",)))
    assert numbers(second) == numbers(first)
    assert second.cohorts.findings(20) == first.cohorts.findings(20)
    assert first.paths is not None
    assert second.paths is not None
    assert second.paths.findings() == first.paths.findings()
    assert {found.path for found in second.paths.findings()} == {"/y"}


def test_a_record_of_an_earlier_version_has_no_cohorts_and_is_read() -> None:
    first, second = judge(), judge()
    first.judge(pairs(50, 0.0))
    record = replace_bytes(first)
    assert second.restore(record, 0) is None
    assert numbers(second) == numbers(first)
    assert second.cohorts.findings(5) == []


def replace_bytes(one: Judge) -> records.EndpointRecord:
    kept = one.record(0)
    return records.EndpointRecord(
        kept.release, kept.incumbent, kept.stage, kept.stage_pairs, kept.stage_since, kept.evidence_since,
        kept.cleared, kept.guards, kept.tally,
    )  # fmt: skip


def test_after_a_rearm_nothing_is_left_of_what_explained_the_old_evidence() -> None:
    settings = configured(
        compare={"kind": "json"}, cohorts=["header:x-country"], guards={"accuracy": {"drop": "1%"}}
    )
    one = judge(settings)
    one.judge(pairs(300, 0.5, cohorts=("NZ",)))
    assert one.memory is not None
    assert len(one.memory)
    one.rearm(2)
    assert len(one.memory) == 0
    assert one.cohorts.findings(20) == []
    assert one.paths is not None
    assert one.paths.findings() == ()
    assert [report.count for report in one.reports()] == [0]


def test_where_the_incumbent_is_asked_twice_a_noisy_model_does_not_trip() -> None:
    settings = configured(shadow={"noise_share": "100%"})
    generator = random.Random(3)

    def noisy(number: int, worse: float) -> Pair:
        one = pair(number, 0.9 if generator.random() < 0.2 + worse else 0.5)
        again = b'{"y":0.9}' if generator.random() < 0.2 else b'{"y":0.5}'
        return one._replace(repeat=one.incumbent._replace(body=again))

    steady, worse = judge(settings), judge(settings)
    assert steady.judge([noisy(n, 0.0) for n in range(3000)]) is None
    breach = worse.judge([noisy(n, 0.1) for n in range(3000)])
    assert breach is not None
    assert breach.guard == "noise_corrected_flips"


def counts(arm: str, version: str, status: int, requests: int) -> RequestCounts:
    return RequestCounts("rain", version, arm, status, requests, [], 0.0)


def test_where_nothing_is_mirrored_errors_are_judged_by_counts_and_move_the_release() -> None:
    unmirrored = {"shadow": {"share": "0%"}, "guards": {"errors": {"excess": "1%"}}}
    plan = [{"mode": "canary", "weight": "1%", "pairs": 400}, {"mode": "canary", "weight": "50%"}]
    bad, good = (judge(configured(**unmirrored, plan=plan)) for _ in range(2))
    breach = None
    for _ in range(100):
        incumbent = [counts("incumbent", "rain-1", 200, 98), counts("incumbent", "rain-1", 500, 2)]
        good.count(
            [*incumbent, counts("candidate", "rain-2", 200, 50), counts("candidate", "rain-2", 500, 1)]
        )
        breach = breach or bad.count(
            [*incumbent, counts("candidate", "rain-2", 200, 8), counts("candidate", "rain-2", 0, 2)]
        )
    assert breach is not None
    assert breach.guard == "errors_unpaired"
    assert good.verdict is not Verdict.FAIL
    assert good.progress.pairs + 400 * good.progress.stage >= 400
    bad.rearm(2)
    assert bad.progress.stage == 0, "a shadow stage would never end where nothing is mirrored"
    assert judge().count([counts("candidate", "rain-2", 500, 1000)] * 2) is None, "here pairs are judged"


def test_reports_are_worked_out_once_until_something_is_heard() -> None:
    one = judge()
    assert one.reports() is one.reports()
    before = one.reports()
    one.judge(pairs(10, 0.0))
    assert one.reports() is not before


def test_labels_count_for_accuracy_by_cohort() -> None:
    settings = configured(
        compare={"kind": "classification", "labels": ["dry", "rain"]},
        guards={"accuracy": {"drop": "1%"}},
        cohorts=["header:x-country"],
    )
    one = judge(settings)
    both = [
        one._replace(
            incumbent=one.incumbent._replace(body=b"[0.2, 0.8]"),
            candidate=one.candidate._replace(body=b"[0.9, 0.1]" if n % 2 else b"[0.2, 0.8]"),
            cohorts=("NZ" if n % 2 else "AU",),
        )
        for n, one in enumerate(pairs(600, 0.0))
    ]
    one.judge(both)
    assert one.memory is not None
    joined = [one.memory.join(p.request_id, "rain") for p in both]
    labelled = [found for found in joined if found is not None]
    assert len(labelled) == 600
    breach = one.hear_labels(labelled)
    assert breach is not None
    assert breach.guard == "accuracy"
    named = [one.cohort for one in one.guards.cohorts(0) if one.verdict is Verdict.FAIL]
    assert named == ["", "header:x-country=NZ"]


def test_predictions_are_counted_by_row_and_version() -> None:
    tallies = Tallies()
    tallies.know("rain", ("rain-1", "rain-2"))
    one = judge(configured(compare={"kind": "classification", "labels": ["dry", "rain"]}), tallies)
    batch = pair(1)
    one.judge(
        [
            batch._replace(
                incumbent=batch.incumbent._replace(body=b"[[0.2, 0.8], [0.9, 0.1]]"),
                candidate=batch.candidate._replace(body=b"[[0.3, 0.7], [0.2, 0.8]]"),
            )
        ]
        * 2
    )
    assert dict(tallies.predictions) == {
        ("rain", "rain-1", "rain"): 2,
        ("rain", "rain-1", "dry"): 2,
        ("rain", "rain-2", "rain"): 4,
    }
    assert sum(tallies.confidence.of("rain", "rain-2").counts) == 4
    assert tallies.pairs["rain", "rain-2"] == tallies.flips["rain", "rain-2"] == 2


@pytest.mark.parametrize("change", [{"compare": {"kind": "json"}}, {"guards": {"errors": {"excess": "1%"}}}])
def test_evidence_of_another_comparison_or_other_guards_is_not_taken_over(change: dict[str, Any]) -> None:
    earlier = judge()
    earlier.judge(pairs(50, 0.0))
    later = judge(configured(**change))
    assert later.succeed(earlier) is not None
    assert [report.count for report in later.reports()] == [0]
    same = judge(replace(earlier.settings, timeout=3.0))
    assert same.succeed(earlier) is None
    assert numbers(same) == numbers(earlier)


def asked(count: int, heat: float, seed: int = 1, first: int = 0) -> list[Pair]:
    """Pairs whose requests have a feature around `heat`; predictions agree."""
    generator = random.Random(seed)
    return [pair(first + n, 0.5, request=b'{"heat": %f}' % generator.gauss(heat, 1.0)) for n in range(count)]


def drift(one: Judge) -> GuardReport:
    return next(report for report in one.reports() if report.guard == "drift")


def heard(one: Judge, stream: list[Pair]) -> None:
    for start in range(0, len(stream), 50):
        assert one.judge(stream[start : start + 50]) is None


DRIFTING = {"drift": {"shift": "25%", "learn": 200}, "flips": {"rate": "10%"}, "certify": False}


def test_drift_is_learned_frozen_kept_over_a_restart_and_holds_the_release_up() -> None:
    plan = [{"mode": "shadow", "pairs": 300}, {"mode": "canary", "weight": "1%"}]
    settings = configured(guards=DRIFTING, plan=plan)
    first = judge(settings)
    heard(first, asked(150, 0.0))
    assert "150 of them are known" in drift(first).sentence
    second = judge(settings)
    assert second.restore(records.decode(records.encode(first.record(0))), 0) is None
    heard(second, asked(250, 0.0, seed=2, first=1000))
    assert drift(second).count == 200, "50 more were learned from, the rest are votes"
    assert "no reference file: learned from the first 200 requests" in drift(second).sentence
    heard(second, asked(400, 3.0, seed=3, first=2000))
    assert (drift(second).verdict, second.verdict) == (Verdict.FAIL, Verdict.FAIL)
    assert second.progress.stage == 0, "pairs and flips would do, but for the drift"
    assert second.guards.breach is None
    third = judge(settings)
    assert third.restore(records.decode(records.encode(second.record(0))), 0) is None
    assert drift(third) == drift(second)
    third.rearm(2)
    assert "0 of them are known" in drift(third).sentence


def test_without_drift_the_release_moves_on_once_the_guard_has_its_votes() -> None:
    plan = [{"mode": "shadow", "pairs": 300}, {"mode": "canary", "weight": "1%"}]
    one = judge(configured(guards=DRIFTING, plan=plan))
    heard(one, asked(450, 0.0))
    assert one.progress.stage == 0
    heard(one, asked(100, 0.0, seed=5, first=1000))
    assert one.progress.stage == 1


def test_a_reference_from_a_file_is_compared_with_from_the_first_request_on() -> None:
    settings = configured(guards=DRIFTING)
    references = [reference("heat", [random.Random(n).gauss(0.0, 1.0) for n in range(2000)])]
    one = Judge(settings, Tallies(), CLOCK, 1, references)
    heard(one, asked(300, 0.0))
    assert (drift(one).count, one.wanted.watched) == (300, ("heat",))
    assert "learned" not in drift(one).sentence


def test_a_rearm_takes_back_what_a_release_gave() -> None:
    one = judge(configured(watch="1h"))
    one.rule(Stage(Mode.CANARY, 10_000))
    one.rearm(2)
    assert (one.stage.mode, one.stage.weight) == (Mode.SHADOW, 0)
