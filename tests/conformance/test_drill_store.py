"""One suite for the drills that are kept, on every engine."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from gates import drills
from gates.drills import DrillUnderWay
from storage.database import Database


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database.open(database_url)
    yield opened
    opened.close()


def report(name: str, endpoint: str = "rain", **more: Any) -> dict[str, object]:
    return {"id": name, "endpoint": endpoint, "state": "faulty", "reason": "\u20ac \\ begun", **more}


def begin(database: Database, name: str, endpoint: str = "rain", at: float = 1.5, replica: str = "a") -> None:
    database.write(lambda on: drills.begin(on, report(name, endpoint), at, at + 60, replica))


def end(database: Database, name: str, state: str = "faulty") -> bool:
    return database.write(lambda on: drills.end(on, report(name, state=state)))


def test_one_drill_at_a_time_an_endpoint_and_the_next_after_its_end(database: Database) -> None:
    begin(database, "d1")
    begin(database, "d2", "snow")
    with pytest.raises(DrillUnderWay, match="d1"):
        begin(database, "d3")
    assert database.write(lambda on: drills.end(on, report("d1", state="passed")))
    begin(database, "d3", at=2.5)
    assert database.read(lambda on: drills.find(on, "d1")) == report("d1", state="passed")
    assert database.read(lambda on: drills.find(on, "d9")) is None


def test_what_has_ended_stays_as_it_ended(database: Database) -> None:
    begin(database, "d1")
    assert database.write(lambda on: drills.end(on, report("d1", state="passed")))
    assert not database.write(lambda on: drills.end(on, report("d1", state="failed")))
    assert database.read(lambda on: drills.find(on, "d1")) == report("d1", state="passed")


def test_of_two_that_begin_at_once_one_begins(database: Database) -> None:
    outcomes: list[str] = []
    both = threading.Barrier(2)

    def contend(name: str) -> None:
        both.wait()
        try:
            begin(database, name)
        except DrillUnderWay:
            outcomes.append("refused")
        else:
            outcomes.append("begun")

    threads = [threading.Thread(target=contend, args=(name,)) for name in ("d1", "d2")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["begun", "refused"]


def test_one_that_begins_unseen_by_the_look_is_refused_as_under_way(database: Database) -> None:
    """Two replicas whose looks both found nothing: the second one's insertion collides."""
    begin(database, "d1")

    class Blind:
        def __init__(self, on: Any) -> None:
            self.on, self.looked = on, False

        def execute(self, *what: Any) -> Any:
            if self.looked:
                return self.on.execute(*what)
            self.looked = True
            return self

        def scalar(self) -> None:
            return None

    with pytest.raises(DrillUnderWay, match="of endpoint rain"):
        database.write(lambda on: drills.begin(Blind(on), report("d2"), 1.5, 9.0, "b"))  # type: ignore[arg-type]
    assert [one["id"] for one in database.read(lambda on: drills.listed(on, None, 9))] == ["d1"]


def test_those_are_interrupted_whose_process_is_another_life_or_late(database: Database) -> None:
    begin(database, "mine", "rain", at=100.0, replica="a")
    begin(database, "its", "snow", at=100.0, replica="b")
    begin(database, "over", "fog", at=100.0, replica="a")
    database.write(lambda on: drills.end(on, report("over", "fog")))
    early = database.read(lambda on: drills.interrupted(on, "a", 120.0))
    assert [one.id for one in early] == ["mine"]
    late = database.read(lambda on: drills.interrupted(on, "a", 161.0))
    assert sorted(one.id for one in late) == ["its", "mine"]


def test_the_newest_of_each_endpoint_and_the_newest_first(database: Database) -> None:
    for name, at in (("d1", 1.0), ("d2", 3.0), ("d3", 2.0)):
        begin(database, name, at=at)
        end(database, name)
    begin(database, "d4", "snow", at=9.0)
    assert database.read(drills.newest) == {"rain": (3.0, report("d2")), "snow": (9.0, report("d4", "snow"))}
    assert [one["id"] for one in database.read(lambda on: drills.listed(on, "rain", 2))] == ["d2", "d3"]
    assert [one["id"] for one in database.read(lambda on: drills.listed(on, None, 1))] == ["d4"]
