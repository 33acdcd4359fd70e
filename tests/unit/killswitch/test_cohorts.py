"""Accuracy per cohort: who is named, how often wrongly, in bounded memory."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from domain.errors import ConfigError
from domain.verdict import Verdict
from killswitch.cohorts import EVERYBODY, MOST_COHORTS, OTHER, AccuracyGuard, KeptCohorts, LabelledPair
from killswitch.guard import Sight

SEEING = Sight()
RIGHT = ((True, True),)


def accuracy() -> AccuracyGuard:
    return AccuracyGuard(0.01, 1000.0, 0.05, 600.0)


def labels(
    count: int, wrong: dict[str, float], seed: int = 1, cohorts: tuple[str, ...] = ("a", "b")
) -> list[LabelledPair]:
    """Pairs of random cohorts; the candidate alone is wrong at the rate of its cohort, by default never."""
    generator = np.random.default_rng(seed)
    found = []
    for number in range(count):
        name = cohorts[int(generator.integers(len(cohorts)))]
        bad = bool(generator.random() < wrong.get(name, 0.0))
        found.append(LabelledPair(number + 1, (f"c={name}",), ((True, not bad),), float(number)))
    return found


def fed(guard: AccuracyGuard, labelled: list[LabelledPair], batch: int = 20) -> int | None:
    for start in range(0, len(labelled), batch):
        guard.add([guard.read(labelled[start : start + batch])])
        if guard.breaches:
            return start + batch
    return None


def test_a_drop_in_one_cohort_is_caught_and_that_cohort_named() -> None:
    guard = accuracy()
    assert fed(guard, labels(4000, {"a": 0.3}, cohorts=("a", *"bcdefghij"))) is not None
    guard.latch(SEEING)
    assert guard.breach is not None
    assert guard.breach.cohort == "c=a"
    assert guard.breach.verdict is Verdict.FAIL
    assert guard.breach.evidence >= guard.breach.threshold
    assert guard.breach.estimate == pytest.approx(0.3, abs=0.15)
    assert guard.breach.sentence.startswith("in c=a: accuracy below the incumbent's by ")
    named = [one.cohort for one in guard.cohorts(0, SEEING) if one.verdict is Verdict.FAIL]
    assert named == ["c=a"]


def test_a_drop_for_everybody_is_caught_for_everybody() -> None:
    guard = accuracy()
    assert fed(guard, labels(4000, {"a": 0.1, "b": 0.1})) is not None
    assert guard.report(0, SEEING).cohort == EVERYBODY


def test_an_equal_candidate_is_certified_in_the_end() -> None:
    guard = accuracy()
    assert guard.report(0, SEEING).verdict is Verdict.INCONCLUSIVE
    assert guard.report(0, SEEING).sentence == "accuracy: no votes yet, it needs labels"
    assert fed(guard, labels(600, {})) is None
    report = guard.report(500, SEEING)
    assert (report.verdict, report.certified, report.pairs_needed) == (Verdict.PASS, True, 0)
    assert guard.verdict(1000, SEEING) is Verdict.INCONCLUSIVE


def test_a_unit_has_one_vote_in_a_stretch_of_time_in_whatever_order_labels_come() -> None:
    guard = accuracy()
    pairs = [LabelledPair(7, ("c=a",), RIGHT, at) for at in (1300.0, 10.0, 20.0, 1201.0, 599.0, 700.0)]
    guard.add([guard.read(pairs[:3])])
    guard.add([guard.read(pairs[3:])])
    assert guard.everybody.state.count == 3
    unknown = LabelledPair(0, (), RIGHT, 1.0)
    guard.add([guard.read([unknown] * 4)])
    assert guard.everybody.state.count == 7


@pytest.mark.parametrize(
    ("per", "unit", "votes"), [("unit", 7, 1), ("unit", 0, 4), ("pair", 7, 1), ("row", 7, 4)]
)
def test_every_row_of_a_labelled_batch_counts_as_the_vote_rule_says(per: str, unit: int, votes: int) -> None:
    guard = AccuracyGuard(0.01, 1000.0, 0.05, 600.0 if per == "unit" else 0.0, per)
    batch = LabelledPair(unit, ("c=a",), ((True, True), (True, False), (True, False), (False, True)), 1.0)
    found = guard.read([batch])
    assert set(found) == {EVERYBODY, "c=a"}
    for one in found.values():
        assert one.increment.count == votes
        assert one.increment.total / votes == 0.25, "of four rows the candidate lost two and won one"


def test_cohorts_are_bounded_and_the_rest_is_one() -> None:
    guard = accuracy()
    pairs = [LabelledPair(n + 1, (f"u={n}", f"v={n}"), RIGHT, 0.0) for n in range(200)]
    fed(guard, pairs, batch=7)
    reports = {one.cohort: one for one in guard.cohorts(0, SEEING)}
    assert len(reports) == MOST_COHORTS + 1
    assert reports[EVERYBODY].count == 200
    assert 100 < reports[OTHER].count <= 200, "a pair of two cohorts too many counts once"
    long = LabelledPair(999, ("u=" + "x" * 500,), RIGHT, 0.0)
    guard.add([guard.read([long])])
    assert max(len(one.cohort) for one in guard.cohorts(0, SEEING)) < 210


def test_a_merge_of_parts_is_the_whole() -> None:
    whole, shared = accuracy(), accuracy()
    pairs = labels(300, {"a": 0.05, "b": 0.02})
    for start in range(0, 300, 50):
        batch = pairs[start : start + 50]
        whole.add([whole.read(batch)])
        shared.add([shared.read(batch[part::3]) for part in range(3)])
    assert shared.log_evidence == whole.log_evidence
    kept, other = shared.keep(), whole.keep()
    for name in ("", "c=a", "c=b"):
        assert kept.guards[name].log_wealth == other.guards[name].log_wealth
        assert kept.guards[name].certified == other.guards[name].certified


def test_too_many_cohorts_of_several_processes_are_left_out() -> None:
    guard = accuracy()
    parts = [
        accuracy().read([LabelledPair(n + 1, (f"{part}={n}",), RIGHT, 0.0) for n in range(60)])
        for part in "ab"
    ]
    guard.add(parts)
    assert len(guard.cohorts(0, SEEING)) <= MOST_COHORTS + 1
    assert guard.everybody.state.count == 120


def test_it_goes_on_after_being_kept() -> None:
    guard, again = accuracy(), accuracy()
    fed(guard, labels(200, {"a": 0.2}))
    kept = msgspec.json.decode(msgspec.json.encode(guard.keep()), type=KeptCohorts)
    again.refuse_unfit(kept)
    again.restore(kept)
    assert again.cohorts(10, SEEING) == guard.cohorts(10, SEEING)
    with pytest.raises(ValueError, match="other guards"):
        AccuracyGuard(0.02, 1000.0, 0.05, 600.0).refuse_unfit(kept)
    with pytest.raises(ValueError, match="no accuracy"):
        guard.refuse_unfit(KeptCohorts({}, None))


def test_an_impossible_drop_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"guards\.accuracy"):
        AccuracyGuard(1.0, 1000.0, 0.05, 600.0)
