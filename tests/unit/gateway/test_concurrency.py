"""Bounds on requests in flight: exact accounts, and an adaptive bound that finds a server's capacity."""

from __future__ import annotations

import heapq
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.concurrency import LEAST, MOST, QUEUE, Gate, Gradient, Total


def test_as_many_enter_as_the_bound_allows() -> None:
    gate = Gate(Total(None), 2)
    assert [gate.enter() for _ in range(3)] == [True, True, False]
    gate.leave(0.0, 0.01)
    assert gate.enter()


def test_the_workers_total_bounds_all_endpoints_together() -> None:
    total = Total(3)
    one, two = Gate(total, 2), Gate(total)
    assert [one.enter(), one.enter(), one.enter(), two.enter(), two.enter()] == [
        True,
        True,
        False,
        True,
        False,
    ]
    one.leave(0.0, None)
    assert two.enter()


def test_a_gate_is_crowded_before_it_is_full() -> None:
    gate = Gate(Total(None), 10)
    for _ in range(7):
        gate.enter()
    assert not gate.crowded
    gate.enter()
    assert gate.crowded
    assert gate.enter()


def test_another_bound_keeps_what_is_in_flight_and_what_was_learned() -> None:
    gate = Gate(Total(None), 500, adaptive=True)
    learned = gate.limit
    gate.enter()
    gate.configure(500, adaptive=True)
    assert (gate.in_flight, gate.limit) == (1, learned)
    gate.configure(7, adaptive=False)
    assert (gate.in_flight, gate.limit) == (1, 7)


@settings(deadline=None)
@given(st.lists(st.booleans()), st.integers(1, 5), st.one_of(st.none(), st.integers(1, 5)))
def test_entered_less_left_is_in_flight_and_never_above_a_bound(
    moves: list[bool], limit: int, most: int | None
) -> None:
    total = Total(most)
    gate = Gate(total, limit)
    entered = 0
    for enters in moves:
        if enters:
            entered += gate.enter()
        elif entered:
            gate.leave(0.0, None)
            entered -= 1
        assert gate.in_flight == total.in_flight == entered <= min(limit, most or limit)


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(1e-6, 60), st.integers(0, 2000))), st.integers(1, 2000))
def test_the_adaptive_bound_stays_between_its_ends(windows: list[tuple[float, int]], most: int) -> None:
    gradient = Gradient(most)
    for latency, in_flight in windows:
        assert min(LEAST, most) <= gradient.step(latency, in_flight) <= most


@settings(deadline=None)
@given(st.floats(1e-4, 10), st.integers(1, 200))
def test_a_steady_latency_never_lowers_the_bound(latency: float, windows: int) -> None:
    gradient = Gradient()
    limits = [gradient.step(latency, gradient.limit) for _ in range(windows)]
    assert limits == sorted(limits)


def test_a_bound_that_holds_nobody_back_does_not_rise() -> None:
    gradient = Gradient()
    assert {gradient.step(0.01, LEAST // 2 - 1) for _ in range(100)} == {LEAST}


class Server:
    """`capacity` requests are served at once, each for an exponential time; the others wait in order."""

    def __init__(self, draw: random.Random, capacity: int, mean: float) -> None:
        self._draw = draw
        self._mean = mean
        self._free_at = [0.0] * capacity

    def latency(self, now: float) -> float:
        begins = max(now, heapq.heappop(self._free_at))
        ends = begins + self._draw.expovariate(1 / self._mean)
        heapq.heappush(self._free_at, ends)
        return ends - now


def overload(
    seed: int, *, capacity: int, mean: float, load: float, seconds: float
) -> tuple[Gate, list[float]]:
    """Poisson arrivals at `load` times what the server can do, behind an adaptive gate."""
    draw = random.Random(seed)
    server, gate = Server(draw, capacity, mean), Gate(Total(None), adaptive=True)
    ends: list[tuple[float, float]] = []
    latencies: list[float] = []
    now = 0.0
    while now < seconds:
        now += draw.expovariate(load * capacity / mean)
        while ends and ends[0][0] <= now:
            at, latency = heapq.heappop(ends)
            gate.leave(at, latency)
        if gate.enter():
            latency = server.latency(now)
            latencies.append(latency)
            heapq.heappush(ends, (now + latency, latency))
    return gate, latencies


@pytest.mark.parametrize("seed", range(4))
def test_under_overload_the_bound_settles_near_the_capacity_and_latency_stays_bounded(seed: int) -> None:
    capacity, mean = 50, 0.1
    gate, latencies = overload(seed, capacity=capacity, mean=mean, load=2.0, seconds=120.0)
    late = latencies[len(latencies) // 2 :]
    assert gate.limit is not None
    # Without a bound, 120 s at twice the capacity end with a queue of a minute.
    assert 0.8 * capacity <= gate.limit <= 3 * capacity
    assert sum(late) / len(late) <= 3 * mean


def test_without_overload_the_bound_grows_out_of_the_way() -> None:
    gate, latencies = overload(1, capacity=50, mean=0.1, load=0.7, seconds=60.0)
    assert gate.limit is not None
    assert gate.limit >= 50 + QUEUE
    assert sum(latencies) / len(latencies) <= 0.13
    assert gate.limit <= MOST
