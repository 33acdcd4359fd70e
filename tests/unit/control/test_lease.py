"""The lease: never longer than was asked for, by the own clock, from before it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from control.clock import Clock
from control.lease import SharedLease
from domain.errors import StateUnavailable


class Store:
    """Gives leases as it is told; `on_the_way` happens while it is asked."""

    def __init__(self) -> None:
        self.token = 0
        self.broken = False
        self.on_the_way: Callable[[], None] = lambda: None
        self.given = 0

    async def take_lease(self, seconds: float) -> int:
        self.on_the_way()
        if self.broken:
            raise StateUnavailable("gone")
        return self.token

    async def give_lease(self) -> None:
        self.given += 1


class Time:
    def __init__(self) -> None:
        self.now = 100.0

    def clock(self) -> Clock:
        return Clock(lambda: 0.0, lambda: self.now)

    def pass_by(self, seconds: float) -> None:
        self.now += seconds


def test_it_ends_before_the_term_does_though_nobody_says_so() -> None:
    store, time = Store(), Time()
    lease = SharedLease(store, time.clock(), term=10.0)
    assert lease.held() is None
    store.token = 7
    asyncio.run(lease.renew())
    time.pass_by(7.9)
    assert lease.held() == 7
    time.pass_by(0.2)
    assert lease.held() is None


def test_a_slow_answer_makes_it_shorter_not_longer() -> None:
    store, time = Store(), Time()
    store.token = 7
    lease = SharedLease(store, time.clock(), term=10.0)
    store.on_the_way = lambda: time.pass_by(9.0)
    asyncio.run(lease.renew())
    assert lease.held() is None


def test_out_of_reach_what_is_held_runs_out_and_what_another_one_took_is_gone_at_once() -> None:
    store, time = Store(), Time()
    store.token = 7
    lease = SharedLease(store, time.clock(), term=10.0)
    asyncio.run(lease.renew())
    store.broken = True
    with pytest.raises(StateUnavailable):
        asyncio.run(lease.renew())
    assert lease.held() == 7
    store.broken, store.token = False, 0
    asyncio.run(lease.renew())
    assert lease.held() is None


def test_it_is_given_back_only_while_it_is_held() -> None:
    store, time = Store(), Time()
    lease = SharedLease(store, time.clock())
    asyncio.run(lease.give())
    assert store.given == 0
    store.token = 7
    asyncio.run(lease.renew())
    asyncio.run(lease.give())
    assert (store.given, lease.held()) == (1, None)
