"""One suite for releases and results of gates, on every engine."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import asdict, replace

import orjson
import pytest
from sqlalchemy import update

from domain.verdict import Verdict
from gates import approved, followed, releases, results
from gates.approvals import Approval
from gates.following import Followed
from gates.release import Phase, Release, Trigger
from gates.releases import AlreadyOpen, StaleStep
from gates.result import Binding, GateResult
from settings.follow import Standing
from storage.database import Database
from storage.tables import RELEASES

RELEASE = Release("r1", "rain", "rain-1", "rain-2", "i", "c", Phase.GATING, 0, 10.0, 10.0)
SHADOW = replace(RELEASE, phase=Phase.SHADOW, since=20.5, steps=1, reason="every gate PASS")
RESULT = GateResult(
    "schema", Verdict.PASS, "fine", {"requests": 3.0}, Binding("rain", "i", "c", "d", (("f", "e"),)), 1.0, 2.0
)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database.open(database_url)
    yield opened
    opened.close()


def test_a_step_is_taken_once(database: Database) -> None:
    database.write(lambda on: releases.open_release(on, RELEASE, 1))
    database.write(lambda on: releases.take(on, SHADOW, Trigger.GATES_PASSED, 1))
    for again in (SHADOW, replace(SHADOW, phase=Phase.HALTED)):
        with pytest.raises(StaleStep):
            database.write(lambda on, again=again: releases.take(on, again, Trigger.GATES_PASSED, 1))
    assert database.read(releases.newest) == {"rain": SHADOW}
    (taken,) = database.read(lambda on: releases.steps(on, "r1"))
    assert (taken["trigger"], taken["phase"], taken["since"]) == ("gates_passed", "shadow", 20.5)


def test_the_newest_release_is_the_one_that_was_started_last_whatever_clocks_say(database: Database) -> None:
    ended = replace(RELEASE, phase=Phase.HALTED, opened=99.0)
    database.write(lambda on: releases.open_release(on, ended, 1))
    earlier = replace(RELEASE, id="r2", opened=5.0)
    database.write(lambda on: releases.open_release(on, earlier, 1))
    assert database.read(releases.newest) == {"rain": earlier}
    assert database.read(lambda on: releases.listed(on, None, 9)) == (earlier, ended)


def test_approvals_are_read_as_they_were_given(database: Database) -> None:
    word = Approval("r1", "subject", "ada", "claimed", "fine \\ \u20ac", 1.5)
    for one in (word, replace(word, by="bob"), replace(word, release="r2")):
        database.write(lambda on, one=one: approved.keep(on, one))
    assert database.read(lambda on: approved.of_release(on, "r1")) == (word, replace(word, by="bob"))


def test_what_is_followed_is_changed_once_and_not_by_who_led_before(database: Database) -> None:
    one = Followed("rain", Standing("rain", "b", "1", "2"), ("0",), "r1", 1, 10.5, "why")
    database.write(lambda on: followed.change(on, one, 3))
    assert database.read(followed.every) == {"rain": one}
    two = replace(one, standing=one.standing._replace(candidate="3"), steps=2)
    for late, token in ((one, 3), (replace(two, steps=3), 3), (two, 2)):
        with pytest.raises(StaleStep):
            database.write(lambda on, late=late, token=token: followed.change(on, late, token))
    database.write(lambda on: followed.change(on, two, 4))
    assert database.read(followed.every) == {"rain": two}


def test_who_led_before_takes_no_step_any_more(database: Database) -> None:
    database.write(lambda on: releases.open_release(on, RELEASE, 1))
    database.write(lambda on: releases.take(on, SHADOW, Trigger.GATES_PASSED, 7))
    late = replace(SHADOW, phase=Phase.CANARY, stage=1, steps=2)
    with pytest.raises(StaleStep, match="token 6"):
        database.write(lambda on: releases.take(on, late, Trigger.EVIDENCE, 6))
    assert database.read(lambda on: releases.find(on, "r1")) == SHADOW


def test_what_a_newer_version_says_of_a_release_keeps_no_replica_from_reading_it(database: Database) -> None:
    database.write(lambda on: releases.open_release(on, RELEASE, 1))
    told = orjson.dumps({**asdict(RELEASE), "colour": "blue"})
    database.write(lambda on: on.execute(update(RELEASES).values(document=told)))
    assert database.read(releases.newest) == {"rain": RELEASE}


def test_of_many_who_take_the_same_step_at_once_one_does(database_url: str) -> None:
    first = Database.open(database_url)
    first.write(lambda on: releases.open_release(on, RELEASE, 1))
    taken, refused = [], []

    def try_it(number: int) -> None:
        mine = Database.open(database_url)
        try:
            step = replace(SHADOW, reason=str(number))
            mine.write(lambda on: releases.take(on, step, Trigger.GATES_PASSED, 1))
            taken.append(number)
        except StaleStep:
            refused.append(number)
        finally:
            mine.close()

    threads = [threading.Thread(target=try_it, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(taken), len(refused)) == (1, 3)
    assert len(first.read(lambda on: releases.steps(on, "r1"))) == 1
    first.close()


def test_an_endpoint_has_one_open_release(database: Database) -> None:
    database.write(lambda on: releases.open_release(on, RELEASE, 1))
    second = replace(RELEASE, id="r2", opened=30.0)
    with pytest.raises(AlreadyOpen, match="r1"):
        database.write(lambda on: releases.open_release(on, second, 1))
    aborted = replace(RELEASE, phase=Phase.ABORTED, steps=1)
    database.write(lambda on: releases.take(on, aborted, Trigger.ABORTED, 1))
    database.write(lambda on: releases.open_release(on, second, 1))
    database.write(lambda on: releases.open_release(on, replace(RELEASE, id="r3", endpoint="snow"), 1))
    assert database.read(releases.newest)["rain"] == second
    listed = database.read(lambda on: releases.listed(on, "rain", 10))
    assert [one.id for one in listed] == ["r2", "r1"]
    assert len(database.read(lambda on: releases.listed(on, None, 2))) == 2
    assert database.read(lambda on: releases.find(on, "r9")) is None


def test_results_are_kept_for_ever_and_the_last_run_is_known(database: Database) -> None:
    assert database.read(lambda on: results.latest(on, "rain")) == ()
    older = replace(RESULT, verdict=Verdict.FAIL)
    second = replace(RESULT, gate="latency", started=3.0, ended=4.0)
    database.write(lambda on: results.keep(on, "a", [older]))
    database.write(lambda on: results.keep(on, "b", [RESULT, second]))
    database.write(lambda on: results.keep(on, "c", []))
    assert database.read(lambda on: results.latest(on, "rain")) == (RESULT, second)
    assert database.read(lambda on: results.latest(on, "snow")) == ()
