"""Changes read from a real chain: named by key or field, on their axis, once, and of this endpoint only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import orjson
import pytest
from sqlalchemy import Connection

from audit import event as kinds
from audit import lives, store
from audit.event import Event
from control import changes
from control.changes import MOST_RECORDS, PAGE, differences
from monitoring.diagnosis.changes import Axis, Change, Signal
from monitoring.labels import kept as labels
from monitoring.labels.kept import ANY, KeptLabel
from storage.database import Database
from tests.support.histories import rearmed

SECOND = 1_000_000
CONFIGURATION = {
    "workers": 1,
    "endpoints": {
        "rain": {
            "timeout": "2s", "guards": {"flips": {"rate": 0.01}}, "flag": "canary",
            "candidate": {"version": "rain-2", "urls": ["http://127.0.0.1:9002"]},
        },
        "wind": {"timeout": "2s"},
    },
}  # fmt: skip


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database.open(database_url)
    yield opened
    opened.close()


def loaded(at: int, replica: str = "a", action: str = "configuration.loaded", **rain: object) -> Event:
    """The configuration with other keys of `rain`, and of itself where they are under `root`."""
    root = rain.pop("root", {})
    document = {**CONFIGURATION, **(root if isinstance(root, dict) else {})}
    endpoints = {**CONFIGURATION["endpoints"], "rain": {**CONFIGURATION["endpoints"]["rain"], **rain}}  # type: ignore[dict-item]
    text = orjson.dumps(
        {"endpoints": endpoints, **document} | {"endpoints": endpoints}, option=orjson.OPT_SORT_KEYS
    )
    after = {"text": text.decode(), "version": "0.1.0"}
    return Event(action, kinds.GATEWAY, "", at * SECOND, "ann", after=after, replica=replica)


def state(at: int, replica: str = "a", **more: object) -> Event:
    after = {"incumbent": "rain-1", "candidate": "rain-2", "mode": "canary", "weight": 100, **more}
    return Event("endpoint.configured", kinds.ENDPOINT, "rain", at * SECOND, after=after, replica=replica)


def lineage(at: int, version: str, **more: object) -> Event:
    return Event("lineage.changed", kinds.VERSION, version, at * SECOND, "registry", after=more)


def read(database: Database, events: list[Event], since: int = 5, until: int = 10_000) -> tuple[Change, ...]:
    """What is read of the chain of `events`."""

    def write(on: Connection) -> None:
        held = [_texted(on, one) for one in events]
        store.append(on, held)

    database.write(write)
    return database.read(
        partial(changes.read, endpoint="rain", since=since * SECOND, until=until * SECOND)
    )  # fmt: skip


def _texted(on: Connection, one: Event) -> Event:
    """The event with the digest of its text in place of the text, which is kept."""
    if one.after is None or "text" not in one.after:
        return one
    digest = store.keep_text(on, str(one.after["text"]).encode())
    return replace(one, after={**one.after, "text": digest})


STARTED = loaded(1, action=kinds.STARTED)


def test_a_key_is_named_with_both_values_and_what_it_can_act_upon(database: Database) -> None:
    found = read(database, [STARTED, loaded(10, timeout="20ms", guards={"flips": {"rate": 0.02}})])
    by_subject = {one.subject: one for one in found}
    timeout = by_subject["endpoints.rain.timeout"]
    assert timeout.sentence == "endpoints.rain.timeout: 2s → 20ms (ann)"
    assert (timeout.axis, timeout.at, timeout.record) == (Axis.CODE, 10.0, 2)
    assert timeout.affects == {Signal.ERRORS, Signal.LATENCY}
    assert by_subject["endpoints.rain.guards.flips.rate"].affects == frozenset()


def test_what_concerns_another_endpoint_is_no_change_of_this_one(database: Database) -> None:
    other = {"endpoints": {"wind": {"timeout": "9s"}}}
    assert [one.subject for one in read(database, [STARTED, loaded(10, root={**other, "workers": 2})])] == [
        "workers"
    ]


def test_another_version_is_told_once_with_what_it_was_made_of_that_the_one_before_was_not(
    database: Database,
) -> None:
    candidate = {"version": "rain-3", "urls": ["http://127.0.0.1:9003"]}
    events = [
        STARTED, state(1), lineage(2, "rain-2", commit="aa", datasets=[{"name": "wet", "version": "1"}]),
        loaded(10, candidate=candidate), state(10, candidate="rain-3"),
        lineage(11, "rain-3", commit="aa", datasets=[{"name": "wet", "version": "2"}],
                hyperparameters={"d": 1}),
    ]  # fmt: skip
    found = read(database, events)
    assert [(one.kind, one.axis, one.part) for one in found] == [
        ("version", Axis.MODEL, 0), ("version: data", Axis.DATA, 2),
        ("version: hyperparameters", Axis.MODEL, 2),
    ]  # fmt: skip
    assert found[0].sentence == "candidate rain-2 → rain-3"
    assert {one.version for one in found} == {"rain-3"}
    assert found[1].sentence.endswith('data ["wet 1"] → ["wet 2"]')


def test_an_address_that_changes_under_the_same_version_is_a_change_of_the_configuration(
    database: Database,
) -> None:
    candidate = {"version": "rain-2", "urls": ["http://127.0.0.1:9099"]}
    (found,) = read(database, [STARTED, loaded(10, candidate=candidate)])
    assert (found.axis, found.subject, found.affects) == (Axis.CODE, "endpoints.rain.candidate.urls", None)


def test_who_answers_how_much_is_a_change_that_mixes(database: Database) -> None:
    flag = {"name": "canary", "enabled": False}
    events = [
        STARTED, state(1), state(10, weight=5000), state(11, weight=5000, flag=flag),
        rearmed("rain", 12 * SECOND, "k"),
        rearmed("wind", 13 * SECOND, "k2"),
    ]  # fmt: skip
    found = read(database, events)
    assert [(one.kind, one.mixes) for one in found] == [("stage", True), ("flag", True), ("rearm", True)]
    assert found[0].sentence.startswith("canary at 1 % → canary at 50 %")


def test_what_two_gateways_record_of_one_change_is_one_and_a_start_is_one_of_each(database: Database) -> None:
    events = [
        STARTED, loaded(1, "b", kinds.STARTED), loaded(10, timeout="1s"), loaded(12, "b", timeout="1s"),
        loaded(500, "b", kinds.STARTED, timeout="1s"),
    ]  # fmt: skip
    found = read(database, events)
    assert [one.kind for one in found] == ["configuration", "restart"]
    assert found[0].record == 3


def test_lineage_that_reads_differently_is_on_the_axis_of_its_field(database: Database) -> None:
    events = [
        STARTED, state(1), lineage(2, "rain-1", commit="aa", schema="f1"), lineage(2, "else", commit="aa"),
        lineage(10, "rain-1", commit="bb", schema="f2"), lineage(11, "else", commit="bb"),
    ]  # fmt: skip
    found = read(database, events)
    assert {(one.subject, one.axis) for one in found} == {
        ("rain-1: commit", Axis.CODE), ("rain-1: feature schema", Axis.DATA),
    }  # fmt: skip


def test_only_the_stretch_that_was_asked_for_is_told_however_long_the_chain_is(database: Database) -> None:
    noise = [Event("note", "note", "x", at * SECOND) for at in range(30, 30 + 2 * PAGE)]
    late = loaded(20 * PAGE, timeout="9s")
    events = [STARTED, loaded(10, timeout="1s"), *noise, late]
    assert len(events) < MOST_RECORDS
    found = read(database, events, since=5, until=5 * PAGE)
    assert [one.at for one in found] == [10.0]


def test_differences_name_what_was_added_and_what_is_gone() -> None:
    assert list(differences({"a": 1, "b": [1]}, {"b": [2], "c": {"d": None}})) == [
        ("a", (1, None)), ("b", ([1], [2])), ("c", (None, {"d": None})),
    ]  # fmt: skip


def test_the_last_label_of_a_request_holds_and_old_ones_are_forgotten(database: Database) -> None:
    def keep(now: float, *kept: KeptLabel) -> None:
        database.write(partial(labels.keep, labels=kept, now=now))

    keep(1.0, KeptLabel("r1", ANY, 0, 1.0), KeptLabel("r2", "rain", [1, "wet"], 1.0))
    keep(2.0, KeptLabel("r1", "rain", 1, 2.0), KeptLabel("r1", "rain", "dry", 2.5))
    found = database.read(partial(labels.of, requests=["r1", "r2", "r3"], endpoint="rain"))
    assert {name: one.label for name, one in found.items()} == {"r1": "dry", "r2": [1, "wet"]}
    assert database.read(partial(labels.find, request="r2", endpoint="wind")) is None
    assert database.write(partial(labels.prune, before=1.5, most=100)) == 2
    keep(3.0, KeptLabel("r4", "rain", 1, 3.0))
    assert database.write(partial(labels.prune, before=0.0, most=1)) == 2
    assert database.read(partial(labels.find, request="r4", endpoint="rain")) is not None


def test_a_gateway_is_heard_of_until_its_last_beat_in_each_of_its_lives(database: Database) -> None:
    for since, now in ((10, 10), (10, 90), (10, 40), (500, 600)):
        database.write(partial(lives.hear, replica="a", since=since, now=now))
    assert database.read(partial(lives.at, at=5)) == {}
    assert database.read(partial(lives.at, at=300)) == {"a": lives.Life(10, 90)}
    assert database.read(partial(lives.at, at=500)) == {"a": lives.Life(500, 600)}
    assert lives.Life(10, 90).silent(90 + lives.SILENCE) is False
    assert lives.Life(10, 90).silent(91 + lives.SILENCE) is True
