"""Drawing: a bounded and even part of the log's records, and learning from it."""

from __future__ import annotations

import msgspec
import pytest

from domain.routing import Arm
from monitoring.drift import drawing, learning
from monitoring.drift.drawing import MOST_ENDPOINTS, MOST_ROWS, Draw, Seen
from monitoring.drift.learning import Learning
from monitoring.log.record import Mirrored, PredictionRecord, Value


def record(at: float, **more: object) -> PredictionRecord:
    one = PredictionRecord(
        f"r{at}", "rain", at, 7, Arm.INCUMBENT, "rain-1", 200, 0.02, 1, "c", "reason", "", {"age": at},
        ("yes", "no"), 0.9, ("de",), "", b"", None,
    )  # fmt: skip
    return one._replace(**more)  # type: ignore[arg-type]


def test_few_records_are_all_drawn_and_only_once() -> None:
    draw = Draw()
    draw.take([record(float(at)) for at in range(100)])
    (drawn,) = draw.drawn()
    assert (drawn.endpoint, drawn.records, len(drawn.rows)) == ("rain", 100, 100)
    assert draw.drawn() == []


def test_of_many_records_an_even_part_is_drawn() -> None:
    draw = Draw()
    for begin in range(0, 20_000, 500):
        draw.take([record(float(at)) for at in range(begin, begin + 500)])
    (drawn,) = draw.drawn()
    assert drawn.records == 20_000
    assert MOST_ROWS / 2 <= len(drawn.rows) <= MOST_ROWS
    steps = {then.at - one.at for one, then in zip(drawn.rows, drawn.rows[1:], strict=False)}
    assert len(steps) == 1, "one out of so many, from the first to the last"
    assert drawn.rows[-1].at > 19_000


def test_wide_records_are_bounded_by_their_values() -> None:
    draw = Draw()
    wide: dict[str, Value] = {f"x{at}": 1.0 for at in range(1000)}
    draw.take([record(float(at), features=wide) for at in range(300)])
    (drawn,) = draw.drawn()
    assert 0 < sum(len(row.features) for row in drawn.rows) <= drawing.MOST_VALUES


def test_endpoints_without_end_are_bounded() -> None:
    draw = Draw()
    draw.take([record(1.0, endpoint=f"e{at}") for at in range(1000)])
    assert len(draw.drawn()) == MOST_ENDPOINTS


def test_a_drill_is_not_drawn() -> None:
    draw = Draw()
    draw.take([record(1.0, drill="d1")])
    assert draw.drawn() == []


def test_the_incumbents_answer_counts_whoever_was_served() -> None:
    other = Mirrored("rain-1", 200, 0.1, ("maybe",), 0.6)
    by_incumbent = drawing.seen(record(1.0))
    assert (by_incumbent.told, by_incumbent.prediction, by_incumbent.confidence) == (True, "yes", 0.9)
    mirrored = drawing.seen(record(1.0, arm=Arm.CANDIDATE, mirrored=other))
    assert (mirrored.told, mirrored.prediction, mirrored.confidence) == (True, "maybe", 0.6)
    alone = drawing.seen(record(1.0, arm=Arm.CANDIDATE))
    assert (alone.told, alone.prediction) == (False, None)
    failed = drawing.seen(record(1.0, status=500, predictions=()))
    assert not failed.told
    unreadable = drawing.seen(record(1.0, predictions=(), confidence=None))
    assert unreadable.told, "there is an answer, and nothing in it"


def test_what_is_drawn_survives_the_socket() -> None:
    draw = Draw()
    draw.take([record(1.0, unit=2**64 - 1, features={"a": None, "b": "x" * 5000, "c": 1e308})])
    drawn = draw.drawn()
    assert drawing.decode(drawing.encode(drawn)) == drawn
    assert drawn[0].rows[0].features["b"] == "x" * drawing.LONGEST_TEXT
    with pytest.raises(msgspec.DecodeError):
        drawing.decode(b"no")


def rows(count: int, begin: float = 0.0) -> list[Seen]:
    return [Seen(begin + at, 1, 0.1, {"age": float(at % 50)}, True, "yes", 0.9, ()) for at in range(count)]


def test_a_profile_is_learned_from_so_many_requests_of_so_long() -> None:
    found = Learning()
    found.take(rows(100))
    assert not found.due(101, 0.0), "too few"
    assert not found.due(100, 3600.0), "too short"
    found.take(rows(100, 4000.0))
    assert found.due(101, 3600.0)
    learned = found.profile(5)
    assert (learned.origin, learned.rows, learned.since, learned.until) == ("learned", 200, 0.0, 4099.0)
    assert [one.name for one in learned.columns] == ["prediction", "confidence", "feature:age"]
    assert found.features() == ["age"]


def test_learning_is_bounded_and_even() -> None:
    found = Learning()
    for begin in range(0, 60_000, 1000):
        found.take(rows(1000, float(begin)))
    assert found.seen == 60_000
    assert learning.MOST_ROWS / 2 <= found.profile(5).rows <= learning.MOST_ROWS


def test_learning_goes_on_where_it_was() -> None:
    one, other = Learning(), Learning()
    one.take(rows(500))
    kept = msgspec.msgpack.decode(msgspec.msgpack.encode(one.keep()), type=learning.KeptLearning)
    back = learning.restored(kept)
    other.take(rows(500))
    for each in (back, other):
        each.take(rows(500, 1000.0))
    assert back.profile(5) == other.profile(5)
    assert back.seen == 1000


def test_nothing_can_be_learned_from_nothing() -> None:
    found = Learning()
    found.take([Seen(1.0, 1, 0.1, {}, False, None, None, ())] * 10)
    with pytest.raises(ValueError, match="no column"):
        found.profile(5)
