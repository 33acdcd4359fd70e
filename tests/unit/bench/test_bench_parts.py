"""The pure parts of the load, the peers and the scenarios."""

from __future__ import annotations

import argparse
import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import conditions, hostile, stream, trip
from bench.__main__ import peers_named, scenarios
from bench.bed import MODEL_SERVER, PURE
from bench.openloop import percentile, split_answer
from bench.pointsman import Setup, configuration, flags, sum_samples
from bench.traffic import PATH, answer, body, requests
from bench.upstream import request_size, whole

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\ncontent-length: 5\r\n\r\nhello"


def test_no_two_requests_are_alike_and_a_seed_repeats_them() -> None:
    made = requests(200, seed=3)
    assert len(set(made)) == 200
    assert made == requests(200, seed=3)
    assert made != requests(200, seed=4)


def test_a_request_has_a_dozen_headers_and_a_body_as_long_as_it_says() -> None:
    (made,) = requests(1)
    head, _, payload = made.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == f"POST {PATH} HTTP/1.1".encode()
    assert len(lines) - 1 >= 12
    assert b"x-request-id" not in head.lower()
    assert f"Content-Length: {len(payload)}".encode() in lines
    assert b"\0" not in made
    assert request_size(made) == len(made)


def test_bodies_are_v2_of_about_300_bytes() -> None:
    made = body(random.Random(1))
    (tensor,) = json.loads(made)["inputs"]
    assert tensor["shape"] == [1, len(tensor["data"])]
    assert 250 <= len(made) <= 350


def test_answers_hold_as_many_rows_as_they_say() -> None:
    (output,) = json.loads(answer("m", 0.9, 3))["outputs"]
    assert output["shape"] == [3, 2]
    assert output["data"] == [0.9, 0.1] * 3


@given(cut=st.integers(0, len(ANSWER) - 1))
@settings(deadline=None)
def test_an_answer_is_complete_only_with_its_last_byte(cut: int) -> None:
    assert split_answer(ANSWER[:cut]) is None


def test_a_complete_answer_is_split() -> None:
    assert split_answer(ANSWER) == (200, ANSWER.partition(b"\r\n\r\n")[0], b"hello")
    assert split_answer(whole(b"{}")) is not None


def test_an_answer_without_a_length_is_refused() -> None:
    with pytest.raises(ValueError, match="Content-Length"):
        split_answer(b"HTTP/1.1 200 OK\r\n\r\n")


@given(values=st.lists(st.floats(0, 10), min_size=1), share=st.floats(0.01, 1))
@settings(deadline=None)
def test_a_percentile_is_a_value_that_the_share_does_not_exceed(values: list[float], share: float) -> None:
    found = percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-9
    assert sum(value < found for value in values) < share * len(values) + 1e-9


def test_no_values_have_no_percentile() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


def test_samples_of_one_metric_are_summed_by_label() -> None:
    text = (
        "# HELP pointsman_mirrors_total mirrors\n# TYPE pointsman_mirrors_total counter\n"
        'pointsman_mirrors_total{endpoint="bench",outcome="paired"} 40.0\n'
        'pointsman_mirrors_total{endpoint="other",outcome="paired"} 2.0\n'
        'pointsman_mirrors_total{endpoint="bench",outcome="dropped"} 1.0\n'
        "pointsman_mirrors_total_created 9.0\n"
    )
    assert sum_samples(text, "pointsman_mirrors_total", 'outcome="paired"') == 42.0
    assert sum_samples(text, "pointsman_mirrors_total") == 43.0
    assert sum_samples(text, "pointsman_absent") == 0.0


def test_the_gateways_configuration_is_plain_json(tmp_path_factory: pytest.TempPathFactory) -> None:
    setup = Setup(1, 2, ({"mode": "shadow"},), shadow_share="100%", guards=hostile.BREAKER_OFF)
    document = json.loads(json.dumps(configuration(setup, tmp_path_factory.getbasetemp(), 3, 4)))
    assert document["listen"] == "127.0.0.1:3"
    assert document["endpoints"]["bench"]["shadow"] == {"share": "100%"}
    assert document["endpoints"]["bench"]["guards"] == hostile.BREAKER_OFF
    assert flags(50)["version"] == 1


def test_scenarios_come_in_their_own_order_and_unknown_ones_are_named() -> None:
    assert scenarios("trip, forward") == ["forward", "trip"]
    with pytest.raises(argparse.ArgumentTypeError, match="'trap'"):
        scenarios("trap")
    assert peers_named("") == []
    assert peers_named("envoy,nginx") == ["nginx", "envoy"]
    with pytest.raises(argparse.ArgumentTypeError, match="no peer is called 'caddy'"):
        peers_named("caddy")


def test_a_round_counts_only_answers_since_the_candidate_turned_bad() -> None:
    report = {
        "breach_at": "2026-01-01T00:00:10.000000+00:00",
        "confirmed_at": "2026-01-01T00:00:10.004000+00:00",
        "detection_pairs": 6,
        "cause": "guard:flips",
    }
    breach = trip.seconds_of("2026-01-01T00:00:10+00:00")
    found = trip.judged(report, [breach - 5, breach - 0.020, breach + 0.003], breach - 1)
    assert found.trip == pytest.approx(0.004, abs=1e-6)
    assert found.served == pytest.approx(0.003, abs=1e-6)
    assert found.recovery == pytest.approx(0.023, abs=1e-6)


def test_the_tables_of_trip_and_hostile_hold_every_row() -> None:
    trips = [trip.Trip(0.003 * n, 0.001, 0.02, 6, "guard:flips") for n in (1, 2, 9)]
    made = trip.section(trips, trip.Witness())
    assert [goal.met for goal in made.goals] == [True]
    assert made.rows[0] == ("breach → last worker confirmed", "6.00", "27.00", "27.00")

    turns = [hostile.Turn(name, (0.001, 0.002) * hostile.SLICE, 0, 5.0, 3e-5) for name in hostile.VARIANTS]
    held = hostile.section(turns)
    assert [row[0] for row in held.rows] == list(hostile.VARIANTS)
    assert {row[3] for row in held.rows} == {"1"}
    assert all(goal.met for goal in held.goals)


def test_one_hiccup_of_the_machine_does_not_move_the_steady_p99() -> None:
    calm = (0.001,) * (4 * hostile.SLICE)
    hiccup = (0.5,) * 20 + calm[20:]
    turns = [hostile.Turn("x", latencies, 0, 0.0, 1e-5) for latencies in (calm, hiccup)]
    assert turns[1].share(0.99) == 0.5
    assert hostile.steady_p99(turns) == 0.001


def test_a_lasting_slowdown_moves_the_steady_p99() -> None:
    slow = hostile.Turn("x", ((0.001,) * 24 + (0.009,)) * (hostile.SLICE // 25 * 4), 0, 0.0, 1e-5)
    assert hostile.steady_p99([slow]) == 0.009


def test_what_a_proxy_adds_to_the_first_event_is_the_median_of_the_rounds_differences() -> None:
    rounds = ((0.001, 0.0015), (0.004, 0.0046), (0.001, 0.0019))
    turns = [
        stream.Streams(name, (first,), 4e-4, 2**20, 0)
        for pair in rounds
        for name, first in zip((MODEL_SERVER, PURE), pair, strict=True)
    ]
    made = stream.section(turns, ())
    assert [row[2] for row in made.rows] == ["", "0.60"]
    assert [goal.met for goal in made.goals] == [True]
    assert not stream.section([*turns[:1], stream.Streams(PURE, (), 0.0, 0, 1)], ()).goals[0].met


def test_large_requests_and_answers_are_100_kilobytes() -> None:
    (large,) = requests(1, rows=conditions.LARGE_ROWS_ASKED)
    assert 95_000 < len(large) < 115_000
    assert 95_000 < len(answer("m", 0.83, conditions.LARGE_ROWS_ANSWERED)) < 115_000
