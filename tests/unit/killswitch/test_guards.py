"""The guard set: verdicts, the latched breach, the current rise, dump and load."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

import msgspec
import pytest

from domain.errors import ConfigError
from domain.observation import Divergence, Observation, Outcome, Pair
from domain.routing import Arm
from domain.verdict import Verdict
from killswitch.guards import GuardReport, GuardSet
from killswitch.signals import JudgedPair
from settings.schema import DivergenceGuard, ErrorsGuard, FlipsGuard, GuardSettings, LatencyGuard

FLIPS = GuardSettings(flips=FlipsGuard(0.01))
ALL = GuardSettings(
    divergence=DivergenceGuard(0.02),
    flips=FlipsGuard(0.01),
    errors=ErrorsGuard(0.005),
    latency=LatencyGuard(p95_ratio=1.5, p99_ratio=2.0, slo=0.2, slo_rate=0.01),
)
OK = Observation("v", Outcome.ANSWERED, 200, 0.010, b"")


def judged(flip: bool = False, at: float = 0.0, unit: int = 0, score: float | None = None) -> JudgedPair:
    pair = Pair("id", "rain", unit, 1, Arm.INCUMBENT, at, OK, OK)
    return JudgedPair(pair, Divergence(float(flip) if score is None else score, flip, ""), None)


def faulty(reason: str = "not JSON") -> JudgedPair:
    return replace(judged(), divergence=None, fault=reason)


def fed(guards: GuardSet, pairs: Iterable[JudgedPair], batch: int = 1, now: float = 0.0) -> int | None:
    """Observe in batches; how many pairs it took to the first breach."""
    held = list(pairs)
    for start in range(0, len(held), batch):
        chunk = held[start : start + batch]
        if guards.observe(chunk, now) is not None:
            return start + len(chunk)
    return None


def only(guards: GuardSet, needed: int = 0) -> GuardReport:
    (report,) = guards.reports(needed)
    return report


def test_a_bad_candidate_breaches_and_the_numbers_explain_it() -> None:
    guards = GuardSet(FLIPS)
    pairs = [judged(flip=n % 4 == 0, at=100.0 + n) for n in range(400)]
    took = fed(guards, pairs)
    assert took is not None
    assert took < 40
    breach = guards.breach
    assert breach is not None
    assert breach.guard == "flips"
    assert breach.verdict is Verdict.FAIL
    assert breach.evidence >= breach.threshold == 1000
    assert breach.count == breach.rising_count == took
    assert breach.rising_since == 100.0
    assert breach.estimate == pytest.approx(0.25, abs=0.07)
    assert breach.sentence.startswith("flips 31 % against a limit of 1 %: 1 in 3 ")
    assert 0.01 < breach.bound_low < breach.estimate < breach.bound_high < 1
    assert (breach.certified, breach.pairs_needed) == (False, None)
    assert guards.verdict(0) is Verdict.FAIL


def test_guards_share_the_false_alarm_rate() -> None:
    assert {report.threshold for report in GuardSet(ALL).reports(0)} == {6 / 0.001}
    assert only(GuardSet(replace(FLIPS, false_alarm=0.05))).threshold == 1 / 0.05


def test_a_breach_is_latched_until_reset() -> None:
    guards = GuardSet(FLIPS)
    fed(guards, [judged(flip=True)] * 20)
    breach = guards.breach
    assert breach is not None
    assert guards.observe([judged()] * 5000, 0.0) is breach
    assert guards.observe([], 0.0) is breach
    assert only(guards) is breach
    assert guards.verdict(10) is Verdict.FAIL
    guards.reset()
    assert guards.breach is None
    assert guards.observe([judged()], 0.0) is None
    assert only(guards).count == 1


def test_the_first_breach_stays_the_first() -> None:
    guards = GuardSet(GuardSettings(flips=FlipsGuard(0.01), divergence=DivergenceGuard(0.02)))
    fed(guards, [judged(flip=True, score=0.0)] * 20)
    guards.observe([judged(score=1.0)] * 200, 0.0)
    assert guards.breach is not None
    assert guards.breach.guard == "flips"
    assert [report.verdict for report in guards.reports(0)] == [Verdict.FAIL, Verdict.FAIL]


def test_of_two_breaches_in_one_batch_the_stronger_is_named() -> None:
    guards = GuardSet(GuardSettings(divergence=DivergenceGuard(0.02), flips=FlipsGuard(0.001)))
    breach = guards.observe([judged(flip=True, score=0.9)] * 50, 0.0)
    assert breach is not None
    divergence, flips = guards.reports(0)
    assert breach.evidence == max(divergence.evidence, flips.evidence)
    assert breach is flips


def test_no_data_is_not_a_pass() -> None:
    guards = GuardSet(ALL)
    assert {report.verdict for report in guards.reports(0)} == {Verdict.INCONCLUSIVE}
    sentences = {report.guard: report.sentence for report in guards.reports(0)}
    assert sentences["flips"] == "flips: no votes yet"
    assert (
        sentences["latency_p99"]
        == "latency_p99: no votes yet, 0 of the 200 incumbent latencies it compares with"
    )
    assert guards.verdict(0) is Verdict.INCONCLUSIVE
    assert GuardSet(GuardSettings()).verdict(0) is Verdict.INCONCLUSIVE
    assert GuardSet(GuardSettings()).observe([judged(flip=True)] * 50, 0.0) is None


def test_a_pass_takes_as_many_votes_as_needed() -> None:
    guards = GuardSet(FLIPS)
    fed(guards, [judged()] * 499)
    report = only(guards, needed=500)
    assert report.verdict is Verdict.INCONCLUSIVE
    assert report.certified
    assert report.pairs_needed == 1
    assert report.sentence == (
        "flips 0 % against a limit of 1 %: "
        "not enough evidence yet (499 of 500 votes; about 1 more to certify it (95 %))"
    )
    fed(guards, [judged()])
    report = only(guards, needed=500)
    assert report.verdict is Verdict.PASS
    assert report.pairs_needed == 0
    assert report.sentence == "flips 0 % against a limit of 1 %: certainly below it (95 %), over 500 votes"
    assert (report.rising_since, report.rising_count) == (None, 0)


def test_a_pass_takes_a_certificate_and_the_way_there_is_shown() -> None:
    guards = GuardSet(FLIPS)
    fed(guards, [judged()] * 100)
    report = only(guards, needed=50)
    assert report.verdict is Verdict.INCONCLUSIVE
    assert not report.certified
    assert report.pairs_needed is not None
    fed(guards, [judged()] * (report.pairs_needed * 8 // 10))
    assert only(guards, needed=50).verdict is Verdict.INCONCLUSIVE
    fed(guards, [judged()] * (report.pairs_needed * 2 // 10 + 1))
    assert only(guards, needed=50).verdict is Verdict.PASS


def test_a_rate_at_its_limit_is_never_certified_and_that_is_said() -> None:
    guards = GuardSet(FLIPS)
    fed(guards, [judged(flip=n % 80 == 40) for n in range(2000)], batch=40)
    report = only(guards)
    assert report.verdict is Verdict.INCONCLUSIVE
    assert report.pairs_needed is None
    assert "at this rate never enough to certify it" in report.sentence or "a breach takes" in report.sentence


def test_a_certificate_is_lost_when_the_candidate_turns_bad() -> None:
    guards = GuardSet(replace(FLIPS, false_alarm=1e-30))
    fed(guards, [judged()] * 450)
    assert guards.verdict(0) is Verdict.PASS
    fed(guards, [judged(flip=True)])
    assert guards.verdict(0) is Verdict.INCONCLUSIVE


def test_without_certification_enough_votes_and_an_estimate_within_the_limit_pass() -> None:
    guards = GuardSet(replace(FLIPS, certify=None))
    fed(guards, [judged()] * 20)
    report = only(guards, needed=20)
    assert report.verdict is Verdict.PASS
    assert not report.certified
    assert report.pairs_needed == 0
    assert report.sentence == (
        "flips 0 % against a limit of 1 %: within the limit over 20 votes, not certified"
    )
    assert only(guards, needed=21).pairs_needed == 1


def test_above_the_limit_without_enough_evidence_is_inconclusive() -> None:
    guards = GuardSet(FLIPS)
    fed(guards, [judged(), judged(flip=True), judged(flip=True), *[judged()] * 10])
    report = only(guards, needed=5)
    assert 1 < report.evidence < report.threshold
    assert report.estimate > report.limit
    assert report.verdict is Verdict.INCONCLUSIVE
    assert "not enough evidence yet (1 in " in report.sentence
    assert "where a breach takes 1 in 1 000, 13 votes)" in report.sentence


@pytest.mark.parametrize("batch", [1, 7, 100])
def test_the_estimate_is_the_current_rate_not_the_average_with_the_healthy_past(batch: int) -> None:
    guards = GuardSet(FLIPS)
    healthy = [judged(at=float(n)) for n in range(3000)]
    bad = [judged(flip=n % 3 == 0, at=3000.0 + n) for n in range(300)]
    took = fed(guards, healthy + bad, batch)
    assert took is not None
    breach = guards.breach
    assert breach is not None
    assert breach.rising_since == 3000.0
    assert breach.rising_count == took - 3000 == breach.count - 3000
    assert breach.estimate == pytest.approx(1 / 3, abs=0.05)


@pytest.mark.parametrize("batch", [1, 5, 25])
def test_a_rise_begins_with_the_first_vote_that_is_bad(batch: int) -> None:
    pairs = [judged(at=float(n)) for n in range(20)] + [judged(flip=True, at=20.0 + n) for n in range(5)]
    guards = GuardSet(replace(FLIPS, false_alarm=1e-9))
    assert fed(guards, pairs, batch) is None
    report = only(guards)
    assert (report.rising_since, report.rising_count, report.estimate) == (20.0, 5, 1.0)


def test_a_rise_that_falls_back_is_forgotten() -> None:
    guards = GuardSet(FLIPS)
    fed(guards, [judged(flip=True, at=7.0)])
    assert only(guards).rising_since == 7.0
    fed(guards, [judged()] * 2000)
    assert (only(guards).rising_since, only(guards).rising_count) == (None, 0)
    assert only(guards).estimate == pytest.approx(1 / 2001)


def test_a_rise_too_weak_for_evidence_is_dated_but_not_averaged_over() -> None:
    guards = GuardSet(FLIPS)
    fed(guards, [judged()] * 3000)
    fed(guards, [judged(flip=True, at=7.0)])
    report = only(guards, needed=500)
    assert report.evidence < 1
    assert (report.rising_since, report.rising_count) == (7.0, 1)
    assert report.estimate == pytest.approx(1 / 3001)
    assert report.verdict is Verdict.PASS


def test_comparisons_that_cannot_be_measured_are_an_error_not_a_pass() -> None:
    guards = GuardSet(replace(ALL, latency=None))
    fed(guards, [judged()] * 1000, batch=100)
    fed(guards, [faulty("not JSON")] * 99)
    assert guards.verdict(1) is Verdict.PASS
    fed(guards, [faulty("output 'rain' is missing")])
    verdicts = {report.guard: report.verdict for report in guards.reports(1)}
    assert verdicts == {"divergence": Verdict.ERROR, "flips": Verdict.ERROR, "errors": Verdict.PASS}
    blind = "flips cannot be measured: the last 100 comparisons failed: output 'rain' is missing"
    assert guards.reports(1)[1].sentence == blind
    assert guards.verdict(1) is Verdict.ERROR
    fed(guards, [judged()])
    assert guards.verdict(1) is Verdict.PASS


def test_comparisons_that_never_worked_are_an_error_at_once() -> None:
    guards = GuardSet(FLIPS)
    fed(guards, [faulty()] * 3)
    assert only(guards).verdict is Verdict.ERROR
    assert only(guards).sentence == "flips cannot be measured: the last 3 comparisons failed: not JSON"


def test_a_breach_outranks_a_blind_spot() -> None:
    guards = GuardSet(FLIPS)
    fed(guards, [judged(flip=True)] * 20)
    fed(guards, [faulty()] * 200)
    assert only(guards).verdict is Verdict.FAIL


def test_a_unit_has_one_vote_in_its_window() -> None:
    guards = GuardSet(FLIPS)
    assert fed(guards, [judged(flip=True, unit=5)] * 200, now=0.0) is None
    assert only(guards).count == 1
    fed(guards, [judged(unit=5)], now=599.9)
    assert only(guards).count == 1
    fed(guards, [judged(unit=5)], now=600.0)
    assert only(guards).count == 2


def test_a_pair_that_says_nothing_does_not_use_up_the_vote() -> None:
    guards = GuardSet(FLIPS)
    fed(guards, [replace(judged(unit=5), divergence=None), judged(unit=5)])
    assert only(guards).count == 1


def test_without_a_window_or_a_unit_every_pair_votes() -> None:
    every = GuardSet(replace(FLIPS, vote_window=0.0))
    fed(every, [judged(unit=5)] * 30)
    unknown = GuardSet(FLIPS)
    fed(unknown, [judged(unit=0)] * 30)
    assert only(every).count == only(unknown).count == 30


def test_latency_guards_compare_with_pairs_before_only() -> None:
    guards = GuardSet(GuardSettings(latency=LatencyGuard(p95_ratio=1.5)))
    slow = replace(judged(), pair=judged().pair._replace(candidate=OK._replace(latency=1.0)))
    assert fed(guards, [slow] * 100) is None
    assert only(guards).count == 0
    took = fed(guards, [slow] * 100)
    assert took is not None
    assert took < 30
    assert guards.breach is not None
    assert "1.5 × the incumbent's p95 of 10 ms 100 % against a limit of 0 %" in guards.breach.sentence


@pytest.mark.parametrize("batch", [1, 20])
def test_dump_and_load_go_on_where_they_were(batch: int) -> None:
    pairs = [judged(flip=n % 140 == 139, at=float(n), score=n % 4 / 100) for n in range(900)]
    straight, restarted = GuardSet(ALL), GuardSet(ALL)
    assert fed(straight, pairs[:400], batch) is None
    restarted.load(straight.dump())
    assert restarted.reports(100) == straight.reports(100)
    assert fed(straight, pairs[400:], batch) is None
    assert fed(restarted, pairs[400:], batch) is None
    assert restarted.reports(100) == straight.reports(100)
    assert min(report.count for report in restarted.reports(0)) > 600


def test_a_breach_survives_a_restart() -> None:
    guards = GuardSet(FLIPS)
    fed(guards, [judged(flip=True)] * 20)
    again = GuardSet(FLIPS)
    again.load(guards.dump())
    assert again.breach == guards.breach
    assert again.observe([], 0.0) == guards.breach
    assert again.verdict(0) is Verdict.FAIL


def test_a_dump_is_small_and_is_json() -> None:
    guards = GuardSet(ALL)
    pairs = [judged(unit=n, at=1.8e9 + n / 7, flip=n % 250 == 0) for n in range(1, 3000)]
    assert fed(guards, pairs, batch=20) is None
    dumped = guards.dump()
    assert len(dumped) < 20_000
    assert msgspec.json.decode(dumped)["guards"][1]["name"] == "flips"


@pytest.mark.parametrize(
    "other",
    [
        GuardSettings(flips=FlipsGuard(0.02)),
        GuardSettings(divergence=DivergenceGuard(0.01)),
        GuardSettings(flips=FlipsGuard(0.01), errors=ErrorsGuard(0.01)),
        GuardSettings(),
    ],
)
def test_the_state_of_other_guards_is_refused_and_changes_nothing(other: GuardSettings) -> None:
    guards = GuardSet(FLIPS)
    fed(guards, [judged()] * 7)
    with pytest.raises(ValueError, match="other guards"):
        guards.load(GuardSet(other).dump())
    assert only(guards).count == 7


def test_another_latency_ratio_is_another_guard() -> None:
    with pytest.raises(ValueError, match="other guards"):
        GuardSet(GuardSettings(latency=LatencyGuard(p95_ratio=1.5))).load(
            GuardSet(GuardSettings(latency=LatencyGuard(p95_ratio=2.0))).dump()
        )


def test_bytes_that_are_no_state_are_refused() -> None:
    guards = GuardSet(FLIPS)
    for broken in (b"", b"{}", b"\xff", guards.dump()[:-5], b"[1,2]"):
        with pytest.raises(ValueError, match="not the state of guards"):
            guards.load(broken)
    dumped = msgspec.json.decode(guards.dump())
    dumped["guards"][0]["log_wealth"] = [0.0]
    with pytest.raises(ValueError, match="1 bets, not 16"):
        guards.load(msgspec.json.encode(dumped))
    dumped = msgspec.json.decode(guards.dump())
    dumped["guards"][0]["rises"]["since"] = [0.0]
    with pytest.raises(ValueError, match="its rises are not of 16 bets"):
        guards.load(msgspec.json.encode(dumped))


def test_a_score_that_is_not_a_number_is_refused() -> None:
    guards = GuardSet(GuardSettings(divergence=DivergenceGuard(0.02)))
    with pytest.raises(ValueError, match="not a number"):
        guards.observe([judged(score=math.nan)], 0.0)


def test_evidence_is_reported_up_to_a_bound_that_json_can_hold() -> None:
    guards = GuardSet(FLIPS)
    fed(guards, [judged(flip=True)] * 5000, batch=5000)
    assert only(guards).evidence == pytest.approx(1e300)
    assert math.isfinite(only(guards).evidence)
    assert b"null" not in msgspec.json.encode(only(guards).evidence)


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, math.nan])
def test_an_impossible_false_alarm_rate_is_refused(rate: float) -> None:
    with pytest.raises(ConfigError, match=r"guards\.false_alarm"):
        GuardSet(replace(FLIPS, false_alarm=rate))
