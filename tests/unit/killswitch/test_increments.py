"""Merging: what several processes read adds up, to the last bit, to what one process does with all of it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.observation import Divergence, Observation, Outcome, Pair, RowFinding
from domain.routing import Arm
from killswitch.columns import JudgedPair
from killswitch.guards import ArmCounts, GuardSet, LabelledPair
from killswitch.increments import Increments
from settings.schema import (
    AccuracyGuard,
    ClassesGuard,
    ConfidenceGuard,
    DivergenceGuard,
    ErrorsGuard,
    FlipsGuard,
    GuardSettings,
    LatencyGuard,
)

EVERYTHING = GuardSettings(
    false_alarm=0.05,
    divergence=DivergenceGuard(0.02),
    flips=FlipsGuard(0.01),
    errors=ErrorsGuard(0.005),
    latency=LatencyGuard(1.5, 1.5, 0.2, 0.01),
    confidence=ConfidenceGuard(0.05),
    classes=ClassesGuard(0.05),
    accuracy=AccuracyGuard(0.01),
)
OUTCOMES = (*[Outcome.ANSWERED] * 20, Outcome.TIMEOUT, Outcome.CONNECT, Outcome.ABANDONED, Outcome.OVERSIZE)


def stream(count: int, seed: int, wrong: float) -> list[JudgedPair]:
    """Pairs in which anything may happen; some are batches, some units come again, some have none."""
    generator = np.random.default_rng(seed)

    def one(number: int) -> JudgedPair:
        seconds = generator.lognormal(-4, 1, 2)
        statuses = 200, 500 if generator.random() < wrong / 2 else 200
        arms = [
            Observation("v", OUTCOMES[int(generator.integers(len(OUTCOMES)))], status, float(latency), b"")
            for status, latency in zip(statuses, seconds, strict=True)
        ]
        pair = Pair(
            str(number), "rain", int(generator.integers(0, count)), 1, Arm.INCUMBENT, float(number), *arms
        )
        if generator.random() < 0.02:
            return JudgedPair(pair, None, "not JSON")
        if not (arms[0].ok and arms[1].ok):
            return JudgedPair(pair, None, None)
        rows = tuple(row() for _ in range(int(generator.integers(1, 4))))
        if len(rows) == 1:
            return JudgedPair(pair, Divergence(*rows[0][:2], "", *rows[0][2:]), None)
        score = sum(one.score for one in rows) / len(rows)
        return JudgedPair(pair, Divergence(score, any(one.flip for one in rows), "", rows=rows), None)

    def row() -> RowFinding:
        flip = bool(generator.random() < wrong)
        sure = [None if generator.random() < 0.1 else float(value) for value in generator.random(2)]
        return RowFinding(float(generator.random()) / 30 + 0.5 * flip, flip, *sure, "a", "b" if flip else "a")

    return [one(number) for number in range(count)]


def evidence(guards: GuardSet) -> dict[str, Any]:
    """All that was dumped but since when a signal rises, which is an estimate that depends on the order."""
    dumped: dict[str, Any] = msgspec.json.decode(guards.dump())
    for guard in [*dumped["guards"], *dumped["accuracy"]["guards"].values()]:
        del guard["rises"]
        guard["breach"] = guard["breach"] and guard["breach"]["evidence"]
    dumped["breach"] = dumped["breach"] and (dumped["breach"]["guard"], dumped["breach"]["evidence"])
    del dumped["accuracy"]["breach"]
    del dumped["fault"]
    return dumped


def labels(judged: list[JudgedPair]) -> list[LabelledPair]:
    return [
        LabelledPair(
            one.pair.unit, (f"u={one.pair.unit % 3}",), ((True, one.pair.candidate.ok),), one.pair.at
        )
        for one in judged
    ]


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 10**6),
    replicas=st.integers(2, 5),
    batch=st.sampled_from([7, 40, 150]),
    wrong=st.sampled_from([0.0, 0.01, 0.3]),
)
def test_a_stream_split_over_replicas_has_the_verdict_of_one_process(
    seed: int, replicas: int, batch: int, wrong: float
) -> None:
    judged = stream(450, seed, wrong)
    whole = GuardSet(EVERYTHING)
    merged = GuardSet(EVERYTHING)
    shared = [GuardSet(EVERYTHING) for _ in range(replicas)]
    for start in range(0, len(judged), batch):
        chunk = judged[start : start + batch]
        whole.observe(chunk, float(start))
        parts = []
        for number, replica in enumerate(shared):
            mine = [one for one in chunk if one.pair.unit % replicas == number]
            parts.append(Increments.load(replica.read(mine, float(start)).dump()))
        merged.merge(parts)
        for replica in shared:
            replica.merge(parts)
    # Faults that are last in a row depend on the order of the pairs, and only decide about blindness.
    mine, theirs = evidence(merged), evidence(whole)
    assert abs(mine.pop("unmeasured") - theirs.pop("unmeasured")) <= 30
    assert mine == theirs
    for replica in shared:
        found = evidence(replica)
        found.pop("unmeasured")
        assert found == mine
    assert merged.verdict(100) is whole.verdict(100)
    assert [one.verdict for one in merged.reports(100)] == [one.verdict for one in whole.reports(100)]


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10**6), wrong=st.sampled_from([0.0, 0.2]), per=st.sampled_from(["unit", "row"]))
def test_guards_read_together_read_what_each_reads_alone(seed: int, wrong: float, per: str) -> None:
    guards = GuardSet(replace(EVERYTHING, vote_per=per))
    guards.observe(stream(300, seed, wrong), 0.0)
    twin = GuardSet(replace(EVERYTHING, vote_per=per))
    twin.load(guards.dump())
    seen: dict[str, Any] = {}
    read = twin._ensemble.read

    def both(votes: Any) -> Any:
        for guard, (numbers, at) in zip(twin._members.paired, votes, strict=True):
            if len(numbers.x):
                seen[guard.signal.name] = guard.read(numbers.x, at.tolist(), numbers.certified)
        return read(votes)

    twin._ensemble.read = both  # type: ignore[method-assign]
    together = twin.read(stream(90, seed + 1, wrong), 1000.0).guards
    assert set(together) == set(seen)
    for name, one in together.items():
        alone_one = seen[name]
        assert one.increment == alone_one.increment
        assert one.certified == alone_one.certified
        assert one.segment.gained.tolist() == alone_one.segment.gained.tolist()
        assert one.segment.floor.tolist() == alone_one.segment.floor.tolist()
        starts, others = one.segment.starts, alone_one.segment.starts
        assert (starts is None) == (others is None)
        if starts is not None and others is not None:
            assert starts.tolist() == others.tolist()


def test_labels_and_counts_merge_as_well() -> None:
    guards = GuardSet(replace(EVERYTHING, mirrored=False))
    judged = stream(200, 3, 0.3)
    guards.observe_labels(labels(judged))
    everybody, *cohorts = guards.cohorts(0)
    assert everybody.cohort == ""
    assert everybody.count > 100
    assert {one.cohort for one in cohorts} == {"u=0", "u=1", "u=2"}
    guards.observe_counts(ArmCounts(90, 0), ArmCounts(10, 0), 5.0)
    reports = {report.guard: report for report in guards.reports(0)}
    assert reports["errors_unpaired"].count == 10
    again = GuardSet(replace(EVERYTHING, mirrored=False))
    again.load(guards.dump())
    assert again.reports(10) == guards.reports(10)


def test_increments_travel_unchanged() -> None:
    guards = GuardSet(EVERYTHING)
    increments = guards.read(stream(120, 8, 0.3), 0.0)
    again = Increments.load(increments.dump())
    assert again.dump() == increments.dump()
    assert set(again.guards) >= {"divergence", "flips", "errors", "confidence", "classes"}


def test_what_is_no_increment_is_refused() -> None:
    guards = GuardSet(EVERYTHING)
    dumped = guards.read(stream(50, 8, 0.3), 0.0).dump()
    for broken in (b"", b"{}", b"\xff", dumped[:-3]):
        with pytest.raises(ValueError, match="not increments"):
            Increments.load(broken)
    document = msgspec.json.decode(dumped)
    document["guards"]["flips"]["increment"]["growth"] = [0.0]
    with pytest.raises(ValueError, match="different numbers of bets"):
        Increments.load(msgspec.json.encode(document))


def test_an_empty_batch_is_nothing() -> None:
    guards = GuardSet(EVERYTHING)
    before = guards.dump()
    assert guards.observe([], 0.0) is None
    assert guards.merge([]) is None
    assert guards.dump() == before
    assert math.isfinite(guards.reports(0)[0].evidence)
