"""Labels find their records, late and in any order; each counts once, for both arms, whatever happens."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.errors import StateUnavailable
from monitoring.labels import matching
from monitoring.labels.figures import figures, together
from monitoring.labels.joining import Order, Round, joined, taken
from monitoring.labels.kept import ANY, Entry
from monitoring.labels.store import NAME, LabelStore
from monitoring.labels.truths import CLASSES, NUMBERS, Kind
from monitoring.log.record import Mirrored, PredictionRecord
from monitoring.log.rolling import roll
from monitoring.log.segments import PARQUET, named
from monitoring.log.writer import Bounds, Delivery, LogWriter
from tests.support.records import record

RAIN = Kind(CLASSES, ("dry", "rain"), ("header:x-country", "feature:age"), True)
KINDS = {"rain": RAIN}
MADE = 0.5
"""When the store was made, before anything came."""


def keep(folder: Path, records: Sequence[PredictionRecord], *, parquet: bool = False) -> int:
    """Write `records` as a segment of their own; its number."""
    now = records[-1].at
    log = LogWriter(folder, Bounds(1e12, 2**40, 1e12), now)
    try:
        number = log.number
        log.keep([Delivery(f"{records[0].request_id}{number}", 1, records)], now)
        if parquet:
            log._begin(number + 1, now)
    finally:
        log.close()
    if parquet:
        assert roll(folder, number) == len(records)
    return number


def entries(labels: Sequence[Any], first: int = 1, at: float | None = None) -> list[Entry]:
    """(request, label) or (request, label, at) as they stand in the database, numbered from `first`."""
    found = []
    for number, (request, label, *when) in enumerate(labels, first):
        known = when[0] if when else (at if at is not None else 5000.0 + number)
        found.append(Entry(number, request, ANY, json.dumps(label).encode(), known, 5000.0 + number))
    return found


@contextmanager
def opened(folder: Path) -> Iterator[LabelStore]:
    store = LabelStore(folder, MADE)
    try:
        yield store
    finally:
        store.close()


def come(folder: Path, some: Sequence[Entry], kinds: dict[str, Kind] | None = None) -> tuple[Round, Round]:
    """Labels come, and a round is made."""
    with opened(folder) as store:
        first = taken(store, some, kinds or KINDS)
    return first, joined(Order(str(folder), kinds or KINDS, 6000.0))


def told(folder: Path, version: str, cohort: str = "", endpoint: str = "rain") -> dict[str, Any]:
    with opened(folder) as store:
        cells = store.cells(endpoint, 0, 1e12)
    return figures(together(tally for key, tally in cells if key[1:3] == (version, cohort)), ("dry", "rain"))


@pytest.mark.parametrize("parquet", [False, True])
def test_the_candidate_is_judged_on_every_label_as_the_incumbent_is(tmp_path: Path, parquet: bool) -> None:
    keep(tmp_path, [record(number, cohorts=("NZ", "30")) for number in range(20)], parquet=parquet)
    _, done = come(tmp_path, entries([(f"id-{number}", "rain") for number in range(10)]))
    assert (done.joined, done.unfit, done.waiting) == ({"rain": 10}, {}, 0)
    incumbent, candidate = told(tmp_path, "rain-1"), told(tmp_path, "rain-2")
    assert (incumbent["labels"], incumbent["accuracy"]) == (10, 1.0)
    assert (candidate["labels"], candidate["accuracy"]) == (5, 0.0)
    assert told(tmp_path, "rain-1", "header:x-country=NZ")["labels"] == 10
    assert told(tmp_path, "rain-1", "feature:age (any)")["labels"] == 10


@pytest.mark.parametrize("parquet", [False, True])
def test_a_label_that_comes_before_its_record_waits_for_it(tmp_path: Path, parquet: bool) -> None:
    keep(tmp_path, [record(0)], parquet=parquet)
    _, done = come(tmp_path, entries([("id-1", "dry"), ("never", "dry")]))
    assert (done.joined, done.waiting) == ({}, 2)
    keep(tmp_path, [record(1), record(2)], parquet=parquet)
    done = joined(Order(str(tmp_path), KINDS, 6001.0))
    assert (done.joined, done.waiting) == ({"rain": 1}, 1)
    assert joined(Order(str(tmp_path), KINDS, 6002.0)).joined == {}


def test_a_segment_that_became_parquet_is_not_looked_through_again_and_misses_nothing(tmp_path: Path) -> None:
    number = keep(tmp_path, [record(0), record(1)])
    come(tmp_path, entries([("id-2", "dry")]))
    log = LogWriter(tmp_path, Bounds(1e12, 2**40, 1e12), 1.0)
    log.keep([Delivery("late", 1, [record(2)])], 2.0)
    log._begin(number + 1, 3.0)
    log.close()
    assert roll(tmp_path, number) == 3
    assert joined(Order(str(tmp_path), KINDS, 6001.0)).joined == {"rain": 1}


def test_the_label_that_became_known_last_holds_in_whatever_order_they_come(tmp_path: Path) -> None:
    keep(tmp_path, [record(1)])
    come(tmp_path, entries([("id-1", "dry", 30.0)]))
    assert told(tmp_path, "rain-1")["accuracy"] == 0.0
    first, _ = come(tmp_path, entries([("id-1", "rain", 20.0)], 2))
    assert first.corrected == {}
    assert told(tmp_path, "rain-2")["accuracy"] == 1.0
    first, _ = come(tmp_path, entries([("id-1", "rain", 40.0)], 3))
    assert first.corrected == {"rain": 1}
    assert (told(tmp_path, "rain-1")["accuracy"], told(tmp_path, "rain-2")["accuracy"]) == (1.0, 0.0)
    assert told(tmp_path, "rain-1")["labels"] == 1


def test_a_correction_counts_after_its_record_is_gone(tmp_path: Path) -> None:
    number = keep(tmp_path, [record(1)], parquet=True)
    come(tmp_path, entries([("id-1", "dry")]))
    named(tmp_path, number, PARQUET).unlink()
    come(tmp_path, entries([("id-1", "rain")], 2))
    assert told(tmp_path, "rain-1")["accuracy"] == 1.0


@pytest.mark.parametrize(
    ("kind", "prediction", "label", "said"),
    [
        (RAIN, ("rain",), "fog", "'fog' is none of its classes; use dry, rain, or an index"),
        (RAIN, ("rain",), 7, "7 is none of its classes"),
        (RAIN, ("rain",), ["rain", "dry"], "2 labels for a prediction of 1 row"),
        (RAIN, (), "rain", "neither arm gave an answer"),
        (Kind(NUMBERS), (2.0,), "rain", "'rain' is no number, and numbers are predicted; give a number"),
        (Kind(NUMBERS), (2.0,), True, "True is no number"),
        (Kind(NUMBERS), (None,), 2.0, "no number in any row"),
    ],
)
def test_a_label_that_does_not_fit_is_told_with_its_value_and_the_way_out_and_may_be_corrected(
    kind: Kind, prediction: tuple[Any, ...], label: object, said: str, tmp_path: Path
) -> None:
    keep(tmp_path, [record(2, predictions=prediction)])
    _, done = come(tmp_path, entries([("id-2", label)]), {"rain": kind})
    assert (done.joined, done.unfit) == ({}, {"rain": 1})
    with opened(tmp_path) as store:
        ((request, endpoint, why),) = store.unfit()
        assert (request, endpoint) == ("id-2", "rain")
        assert said in why
    if len(prediction) and prediction[0] is not None:
        better = 1 if kind.kind == CLASSES else 3.5
        first, _ = come(tmp_path, entries([("id-2", better)], 2), {"rain": kind})
        assert (first.joined, first.unfit) == ({"rain": 1}, {"rain": -1})


def test_each_request_is_evidence_once_and_says_of_both_arms_whether_they_were_right(tmp_path: Path) -> None:
    keep(tmp_path, [record(1, cohorts=("NZ", None)), record(2), record(3, drill="d1"), record(5)])
    some = entries([("id-1", "rain"), ("id-2", "rain"), ("id-3", "rain"), ("id-5", "rain")])
    with opened(tmp_path) as store:
        taken(store, [*some[:3], some[3]._replace(kept=MADE - 0.1)], KINDS)
    assert joined(Order(str(tmp_path), KINDS, 6000.0)).evidence == 1
    come(tmp_path, entries([("id-1", "dry")], 9))
    with opened(tmp_path) as store:
        (one,) = store.evidence(0, 10)
        assert store.evidence(one.number, 10) == []
    said = one.testimony
    assert (one.request, said.incumbent, said.candidate, said.generation) == ("id-1", "rain-1", "rain-2", 7)
    assert (said.rows, said.values, said.cohorts) == ([(True, False)], ["NZ", None], None)


def test_an_endpoint_without_a_guard_has_no_evidence(tmp_path: Path) -> None:
    keep(tmp_path, [record(1)])
    come(tmp_path, entries([("id-1", "rain")]), {"rain": RAIN._replace(guarded=False)})
    with opened(tmp_path) as store:
        assert store.evidence(0, 10) == []


def test_of_two_records_of_one_id_the_newest_is_meant(tmp_path: Path) -> None:
    old, new = record(0, at=100.0, version="rain-0"), record(0, at=200.0)
    keep(tmp_path, [old, new], parquet=True)
    come(tmp_path, entries([("id-0", "rain")]))
    assert (told(tmp_path, "rain-0"), told(tmp_path, "rain-1")["labels"]) == ({"labels": 0}, 1)


def test_a_damaged_segment_hides_only_its_own_records_until_it_is_whole_again(tmp_path: Path) -> None:
    number = keep(tmp_path, [record(1)], parquet=True)
    keep(tmp_path, [record(2)])
    path = named(tmp_path, number, PARQUET)
    whole = path.read_bytes()
    path.write_bytes(b"PAR1 nothing")
    _, done = come(tmp_path, entries([("id-1", "rain"), ("id-2", "rain")]))
    assert (done.joined, done.waiting, len(done.unreadable)) == ({"rain": 1}, 1, 1)
    assert path.name in done.unreadable[0]
    path.write_bytes(whole)
    assert joined(Order(str(tmp_path), KINDS, 6001.0)).joined == {"rain": 1}


def test_a_round_that_is_cut_off_is_gone_on_with_and_counts_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for first in (0, 10, 20):
        keep(tmp_path, [record(number) for number in range(first, first + 10)], parquet=True)
    with opened(tmp_path) as store:
        taken(store, entries([(f"id-{number}", "rain") for number in range(30)]), KINDS)
    monkeypatch.setattr(matching, "matches", _cut_off(matching.matches))
    with pytest.raises(MemoryError):
        joined(Order(str(tmp_path), KINDS, 6000.0))
    monkeypatch.undo()
    assert joined(Order(str(tmp_path), KINDS, 6001.0)).waiting == 0
    assert told(tmp_path, "rain-1")["labels"] == 30
    assert told(tmp_path, "rain-2")["labels"] == 15


def _cut_off(matches: Any) -> Any:
    """Two segments are read, and at the third the process ends."""
    calls: list[int] = []

    def found(*given: Any) -> Any:
        calls.append(1)
        if len(calls) > 2:
            raise MemoryError
        return matches(*given)

    return found


def test_a_store_that_cannot_be_opened_says_where_it_is(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"no database at all, and long enough to be taken for one" * 20)
    with pytest.raises(StateUnavailable, match=NAME):
        LabelStore(tmp_path, 1.0)


def test_what_is_old_is_forgotten(tmp_path: Path) -> None:
    keep(tmp_path, [record(1)])
    come(tmp_path, entries([("id-1", "rain"), ("never", "rain")]))
    with opened(tmp_path) as store:
        assert store.prune(5001.5, 6000.0) == 2
        assert store.prune(1e12, 1e12) == 1
        assert store.cells("rain", 0, 1e12) == []
    with closing(sqlite3.connect(tmp_path / NAME)) as connection:
        for table in ("waiting", "joined", "evidence", "cells"):
            assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)


LABEL = st.tuples(st.integers(0, 5), st.sampled_from(["rain", "dry"]), st.integers(0, 20))


@settings(deadline=None, max_examples=15)
@given(rounds=st.lists(st.lists(LABEL, max_size=6), min_size=1, max_size=4), parquet=st.booleans())
def test_whatever_comes_in_whatever_order_the_sums_are_those_of_the_labels_that_hold(
    rounds: list[list[tuple[int, str, int]]], parquet: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("labels")
    keep(folder, [record(number) for number in range(5)], parquet=parquet)
    holds: dict[int, tuple[int, str]] = {}
    first = 1
    for labels in rounds:
        come(folder, entries([(f"id-{one}", label, float(at)) for one, label, at in labels], first))
        first += len(labels)
        for one, label, at in labels:
            if one not in holds or (at >= holds[one][0] and label != holds[one][1]):
                holds[one] = at, label
    known = {one: label for one, (_, label) in holds.items() if one < 5}
    found = told(folder, "rain-1")
    assert found["labels"] == len(known)
    if known:
        assert found["accuracy"] == sum(label == "rain" for label in known.values()) / len(known)


def test_numbers_have_errors_and_a_batch_counts_row_by_row(tmp_path: Path) -> None:
    other = Mirrored("rain-2", 200, 0.1, (1.0, 2.0, 9.0), None)
    keep(tmp_path, [record(1, predictions=(1.0, None, 4.0), confidence=None, mirrored=other)])
    come(tmp_path, entries([("id-1", [1, 2.5, 6])]), {"rain": Kind(NUMBERS)})
    assert told(tmp_path, "rain-1") == {
        "labels": 2, "mae": 1.0, "rmse": pytest.approx(2**0.5), "bias": -1.0,
    }  # fmt: skip
    assert told(tmp_path, "rain-2")["labels"] == 3


def answered(number: int) -> PredictionRecord:
    return record(
        number, version="rain-1", predictions=("rain",), confidence=0.8, cohorts=("NZ", "40"),
        mirrored=Mirrored("rain-2", 200, 0.1, ("dry",), 0.9),
    )  # fmt: skip


def test_labels_of_an_endpoint_that_is_not_configured_now_count_as_it_was(tmp_path: Path) -> None:
    keep(tmp_path, [answered(number) for number in range(3)])
    other = {"snow": RAIN}
    _, first = come(tmp_path, entries([("id-0", "rain")]), other)
    assert first.unfit == {"rain": 1}, "nobody has ever said what it predicts"
    _, back = come(tmp_path, [], KINDS)
    assert (back.joined, back.unfit) == ({"rain": 1}, {"rain": -1})
    _, again = come(tmp_path, entries([("id-1", "rain")], 2), other)
    assert (again.joined, again.unfit, again.evidence) == ({"rain": 1}, {}, 0)
    assert told(tmp_path, "rain-1")["labels"] == 2
    with opened(tmp_path) as store:
        assert store.unfit() == []
        assert store.counts()["rain"][:2] == (2, 0)


def test_labels_that_did_not_fit_are_held_against_what_is_configured_since(tmp_path: Path) -> None:
    keep(tmp_path, [answered(number) for number in range(3)])
    wrong = {"rain": RAIN._replace(names=("sun", "fog"))}
    _, first = come(tmp_path, entries([("id-0", "rain"), ("id-1", "snow")]), wrong)
    assert first.unfit == {"rain": 2}
    _, mended = come(tmp_path, [])
    assert (mended.joined, mended.unfit) == ({"rain": 1}, {"rain": -1})
    assert come(tmp_path, [])[1].joined == {}, "once"
    assert told(tmp_path, "rain-1")["labels"] == 1


def test_a_label_that_came_while_a_segment_could_not_be_read_finds_its_record_there_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(tmp_path, [answered(number) for number in range(3)])
    come(tmp_path, entries([("id-0", "rain"), ("never", "rain")]))
    come(tmp_path, [])  # all of it has been looked through for what waits
    with monkeypatch.context() as patch:
        patch.setattr(matching, "matches", _unreadable)
        _, done = come(tmp_path, entries([("id-1", "rain")], 3))
        assert done.unreadable == ["busy"]
    assert come(tmp_path, [])[1].joined == {"rain": 1}


def _unreadable(*_: object) -> Iterator[object]:
    raise StateUnavailable("busy")


def test_a_label_that_was_heard_when_it_came_is_no_evidence_from_the_log(tmp_path: Path) -> None:
    """It names its endpoint: the pair was remembered, and it was heard though nothing could be written."""
    keep(tmp_path, [answered(number) for number in range(3)])
    (one,) = entries([("id-0", "rain")])
    _, done = come(tmp_path, [one._replace(endpoint="rain")])
    assert (done.joined, done.evidence) == ({"rain": 1}, 0)


def test_a_label_that_cannot_be_read_is_unfit_and_stops_no_other(tmp_path: Path) -> None:
    keep(tmp_path, [answered(number) for number in range(3)])
    first, second = entries([("id-0", "rain"), ("id-1", "rain")])
    _, done = come(tmp_path, [first._replace(label=b'"\\ud800"'), second])
    assert (done.joined, done.unfit) == ({"rain": 1}, {"rain": 1})
