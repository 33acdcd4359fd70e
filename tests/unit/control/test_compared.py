"""Comparing batches: the same wherever it happens, bounded, and heavy ones told from the others unread."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import signal

import pytest

from comparators.comparison import Comparison
from control.aside import Aside
from control.compared import MOST_ROWS, Wanted, compare, heavy
from domain.media import Media
from domain.observation import Observation, Outcome, Pair
from domain.routing import Arm
from settings.schema import CompareSettings
from tests.support.control import pair

REGRESSION = CompareSettings("regression", output="/y")
JSON = CompareSettings("json")


def answer(version: str, body: bytes, media: str = "") -> Observation:
    return Observation(version, Outcome.ANSWERED, 200, 0.002, body, media)


def bodies(number: int, incumbent: bytes, candidate: bytes, repeat: bytes | None = None) -> Pair:
    return pair(
        number,
        incumbent=answer("rain-1", incumbent),
        candidate=answer("rain-2", candidate),
        repeat=None if repeat is None else answer("rain-1", repeat),
    )


PAIRS = [
    bodies(1, b'{"y":1}', b'{"y":1}'),
    bodies(2, b'{"y":1}', b'{"y":9}', b'{"y":1}'),
    bodies(3, b'{"y":1}', b'{"y":9}', b'{"y":9}'),
    bodies(4, b'{"y":1}', b"nothing to read", b'{"y":1}'),
    bodies(5, b"nothing to read", b'{"y":1}', b'{"y":1}'),
    bodies(6, b'{"y":1}', b'{"y":1}', b"nothing to read"),
    pair(7, candidate=Observation("rain-2", Outcome.TIMEOUT, 0, 0.2, b"")),
    pair(8, repeat=Observation("rain-1", Outcome.CONNECT, 0, 0.0, b"")),
    pair(9, request=b'{"x": [1, 2]}'),
]


def test_noise_is_the_incumbent_against_its_own_repeat() -> None:
    compared = compare(Comparison("json", REGRESSION), PAIRS, Wanted())
    noises = [None if one.noise is None else one.noise.flip for one in compared.judged]
    assert noises == [None, False, True, False, None, True, None, None, None]
    scores = [None if one.divergence is None else one.divergence.score for one in compared.judged]
    assert scores == [0.0, 1.0, 1.0, 1.0, None, 0.0, None, 0.0, 0.0]
    assert [one.fault is not None for one in compared.judged] == [number == 4 for number in range(9)]
    assert compared.unreadable == [Arm.CANDIDATE, Arm.INCUMBENT]


def test_features_are_read_of_some_requests_by_their_places() -> None:
    pairs = [pair(n, request=b'{"x": %d}' % n) for n in range(200)]
    compared = compare(Comparison("json", REGRESSION), pairs, Wanted(("x", "missing")))
    assert len(compared.features) <= 64
    assert {index: column.cohorts["x"].tolist() for index, column in compared.features.items()} == {
        index: [float(index)] for index in range(0, 200, 4)
    }
    assert all("missing" not in columns.cohorts for columns in compared.features.values())


def test_the_rows_of_a_large_batch_are_thinned_out_by_their_places() -> None:
    count = 5 * MOST_ROWS
    left = json.dumps([[float(n)] for n in range(count)]).encode()
    right = json.dumps([[n + (n % 5 == 0)] for n in range(count)]).encode()
    one = bodies(1, left, right)._replace(request=left)
    compared = compare(Comparison("json", CompareSettings("regression")), [one], Wanted(("0",)))
    found = compared.judged[0].divergence
    assert found is not None
    assert len(found.rows) == len(compared.features[0].cohorts["0"]) == MOST_ROWS
    assert found.score == pytest.approx(0.2), "the score is that of all rows"


def test_heavy_is_what_is_long_or_may_inflate() -> None:
    small = [pair(n) for n in range(256)]
    assert not heavy(small, "regression")
    long = bodies(1, b"x" * 20_000, b"x")
    assert heavy([*small, long], "regression")
    assert heavy([bodies(1, b"x" * 9_000, b"x")], "json")
    assert not heavy([bodies(1, b"x" * 9_000, b"x")], "regression")
    assert heavy([bodies(n, b"x" * 4_000, b"x") for n in range(20)], "text"), "many of them are as long"
    coded = Media("application/json", "gzip").text()
    for replaced in (
        {"candidate": answer("rain-2", b"x", coded)},
        {"repeat": answer("rain-1", b"x", coded)},
        {"request_media": coded},
        {"request": b"x" * 20_000},
    ):
        assert heavy([pair(1, **replaced)], "regression")
    assert not heavy(
        [pair(1, candidate=answer("rain-2", b"x", Media("application/json", "", 5).text()))], "json"
    )


def test_the_other_process_finds_the_same_and_a_hostile_answer_is_a_fault_of_its_own() -> None:
    async def scenario() -> None:
        aside = Aside()
        try:
            expected = compare(Comparison("json", REGRESSION), PAIRS, Wanted(("x.0",), None))
            assert await aside.compare("json", REGRESSION, Wanted(("x.0",), None), PAIRS) == expected
            documents = [
                bodies(1, gzip.compress(b"[1]"), b"[1, NaN]"),
                bodies(2, b"[" * 100_000, b"]"),
                bodies(3, b'{"a": 1}', b'{"a": 1, "a": 2}'),
            ]
            found = await aside.compare("json", JSON, Wanted(), documents)
            assert found == compare(Comparison("json", JSON), documents, Wanted())
        finally:
            await aside.close()

    asyncio.run(scenario())


def test_a_comparison_that_hangs_or_dies_is_a_fault_and_the_next_one_works() -> None:
    async def scenario() -> None:
        aside = Aside()
        try:
            assert (await aside.compare("json", REGRESSION, Wanted(), PAIRS[:1])).judged[0].fault is None
            process = aside._process
            assert process is not None
            os.kill(process.pid, signal.SIGSTOP)
            aside._patience = 0.1
            (hung,) = (await aside.compare("json", REGRESSION, Wanted(), PAIRS[:1])).judged
            assert (hung.divergence, hung.fault) == (None, "comparing took longer than 0.1 s")
            aside._patience = 60.0
            assert (await aside.compare("json", REGRESSION, Wanted(), PAIRS[:1])).judged[0].fault is None
            process = aside._process
            assert process is not None
            process.kill()
            await process.wait()
            (died,) = (await aside.compare("json", REGRESSION, Wanted(), PAIRS[:1])).judged
            assert died.fault is not None
            assert died.fault.startswith("comparing failed")
            assert (await aside.compare("json", REGRESSION, Wanted(), PAIRS[:1])).judged[0].fault is None
            assert aside.faults == 2
        finally:
            await aside.close()

    asyncio.run(scenario())


def test_of_a_request_that_names_nothing_all_features_are_read_in_their_order() -> None:
    named = pair(1, request=b'{"age": 41, "heat": 2.5, "wet": true}')
    nameless = pair(2, request=b"[[41, 2.5, 1]]")
    torn = pair(3, request=b"{")
    comparison = Comparison("json", REGRESSION)

    def watched(*names: str) -> list[dict[str, list[float]]]:
        found = compare(comparison, [named, nameless, torn], Wanted((), names)).features
        return [{name: column.tolist() for name, column in one.watched.items()} for one in found.values()]

    matrix = {"0": [41.0], "1": [2.5], "2": [1.0]}
    assert watched("heat", "age", "wet") == [{"heat": [2.5], "age": [41.0], "wet": [1.0]}, matrix, {}]
    assert watched("heat", "age")[1] == {}, "three columns cannot be two features"
    assert watched() == []
    every = compare(comparison, [named], Wanted((), None)).features[0]
    assert {name: column.tolist() for name, column in every.watched.items()} == {
        "age": [41.0], "heat": [2.5], "wet": [1.0],
    }  # fmt: skip
    assert every.cohorts == {}
