"""The servers of one version, and which of them is asked.

What is known of each server changes rarely and requests are many, so that the servers worth asking are worked
out when something changes, not when somebody asks. Three things take a server out: no connection can be made
to it, active checks say it is unhealthy, or its answers failed in a row and it was ejected.

Judgement can be wrong about all servers at once: a health path that moved, a bug in the checks. Below half of
the servers the incumbent's are asked whatever the checks and the ejections say (Envoy's panic threshold):
failing open to the model that is trusted. A candidate never fails open: with no server left to trust it is
not asked, and the incumbent answers.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable, Iterable, Iterator

from domain.members import INCUMBENT
from domain.routing import Arm, Balance, Upstream, Version
from gateway.group import Group
from gateway.plain import Plain
from gateway.pool import Pool
from gateway.retries import RetryBudget
from shadow.tasks import Tasks

LINGERS = 3600.0
"""Seconds that a server which no version uses any more is looked after: as long as any exchange may live."""
PANIC = 0.5
"""Share of the incumbent's servers; with fewer trusted than this, all that can be reached are asked."""


class Servers:
    """The servers of one version in one arm.

    `retries` is the version's budget; `only` the one server to ask, where there is no choice.
    """

    __slots__ = (
        "_draw", "_group", "_last", "_live", "_turns", "_two", "_warming",
        "arm", "only", "pools", "retries",
    )  # fmt: skip

    def __init__(
        self,
        pools: tuple[Pool, ...],
        arm: Arm = INCUMBENT,
        balance: Balance = Balance.LEAST_IN_FLIGHT,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self.pools = pools
        self.arm = arm
        self.retries = RetryBudget(lambda: sum(pool.in_flight for pool in pools))
        self._two = balance is Balance.TWO_CHOICES
        self._draw = draw
        self._turns: Iterator[int] = itertools.count(1)
        self._last = dict.fromkeys(pools, 0)
        self.update()
        self._group = Group(self.update, self.may_eject)
        for pool in pools:
            pool.standing.groups.add(self._group)

    def __repr__(self) -> str:
        return f"<Servers {self.arm} {len(self._live)} of {list(self.pools)}>"

    def choose(self, tried: frozenset[Pool] = frozenset()) -> Pool | None:
        """The server to ask; None when all were tried, or none of a candidate's is to be trusted."""
        only = self.only
        if only is not None and not tried:
            return only
        return self._choose(tried)

    def may_eject(self) -> bool:
        """Whether one more of these servers may be ejected."""
        ejected = sum(pool.outlier.ejected for pool in self.pools)
        share = min(pool.upstream.policy.ejection.share for pool in self.pools)
        return ejected + 1 <= share * len(self.pools)

    def update(self) -> None:
        """Something became known about one of the servers."""
        pools = self.pools
        # Where no connection can be made asking is vain; where that is so everywhere it says so at once.
        reachable = tuple(pool for pool in pools if not pool.standing.resting) or pools
        live = tuple(pool for pool in reachable if not pool.outlier.ejected and self._passes(pool))
        if self.arm is INCUMBENT and len(live) < PANIC * len(pools):
            live = reachable
        self._live = live
        self.only: Pool | None = live[0] if len(live) == 1 else None
        self._warming = any(pool.standing.weight < 1.0 for pool in live)

    def _passes(self, pool: Pool) -> bool:
        """A candidate's server must have passed its checks; an incumbent's must not have failed them."""
        healthy = pool.standing.healthy
        return healthy is not False if self.arm is INCUMBENT else healthy is True

    def _choose(self, tried: frozenset[Pool]) -> Pool | None:
        pools = self._live
        if tried:
            pools = tuple(pool for pool in pools if pool not in tried)
            if not pools and self.arm is INCUMBENT:
                pools = tuple(pool for pool in self.pools if pool not in tried)
        if self._warming and len(pools) > 1:
            pools = tuple(pool for pool in pools if self._takes_part(pool)) or pools
        if not pools:
            return None
        if self._two and len(pools) > 2:
            pools = self._two_of(pools)
        chosen = min(pools, key=self._load)
        self._last[chosen] = next(self._turns)
        return chosen

    def _takes_part(self, pool: Pool) -> bool:
        weight = pool.standing.weight
        return weight >= 1.0 or self._draw() < weight

    def _load(self, pool: Pool) -> tuple[int, int]:
        """Equally busy servers take turns."""
        return pool.in_flight, self._last[pool]

    def _two_of(self, pools: tuple[Pool, ...]) -> tuple[Pool, Pool]:
        """Two different ones (Mitzenmacher 2001, "The Power of Two Choices in Randomized Load Balancing")."""
        count = len(pools)
        first = int(self._draw() * count)
        second = int(self._draw() * (count - 1))
        return pools[first], pools[second + (second >= first)]


class Pools:
    """All pools of a worker, one per server, kept over snapshots."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        tasks: Tasks,
        clock: Callable[[], float],
        draw: Callable[[], float] = random.random,
        plain: Plain | None = None,
    ) -> None:
        self._plain = plain
        self._loop = loop
        self._tasks = tasks
        self._clock = clock
        self._draw = draw
        self._pools: dict[Upstream, Pool] = {}
        self._leaving: dict[Pool, float] = {}  # somebody's exchange may yet ask one

    def of(self, version: Version, arm: Arm = INCUMBENT) -> Servers:
        """The servers of `version`, which serves as `arm`."""
        pools = tuple(self._pool(upstream) for upstream in version.upstreams)
        return Servers(pools, arm, version.balance, self._draw)

    def retain(self, upstreams: Iterable[Upstream]) -> None:
        """Close the pools of all other servers."""
        keep = set(upstreams)
        for upstream in [u for u in self._pools if u not in keep]:
            pool = self._pools.pop(upstream)
            pool.close()
            self._leaving[pool] = self._clock() + LINGERS

    def tick(self, now: float) -> None:
        for pool in self._pools.values():
            pool.tick(now)
        for pool, until in tuple(self._leaving.items()):
            pool.tick(now)
            if now > until and pool.empty:
                del self._leaving[pool]

    def close(self) -> None:
        """Drop every connection."""
        for pool in (*self._pools.values(), *self._leaving):
            pool.abort()

    def __iter__(self) -> Iterator[Pool]:
        """The servers in use."""
        return iter(tuple(self._pools.values()))

    def _pool(self, upstream: Upstream) -> Pool:
        pool = self._pools.get(upstream)
        if pool is None:
            pool = self._pools[upstream] = Pool(
                upstream, self._loop, self._tasks, self._clock, self._draw, self._plain
            )
            pool.watch()
        return pool
