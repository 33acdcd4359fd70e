"""Which paths of a document differ between the arms more often than the incumbent differs from itself?

A model that samples, a timestamp, a list in the order of a hash: parts of an answer differ each time, whoever
gives it. Diffy (Twitter 2015) asks the old version twice and calls a field noise when it differs there about
as often as between the versions, by raw counts, which says little after ten answers. Here both rates have
confidence intervals that hold at every moment at once, and a path is certain to exceed its noise only when
the intervals part.

For k differences in n comparisons with the rate p, the mixture of likelihood ratios over a Beta(½, ½) prior,
M(p) = B(k + ½, n − k + ½) / B(½, ½) / (p^k (1 − p)^(n − k)), is a martingale that starts at 1, so by Ville's
inequality the p with M(p) < 1/α contain the true one, for all n at once, except with probability α (Robbins
1970, Statistical methods related to the law of the iterated logarithm). α is shared equally by the two rates
of all paths that can ever be listed. Only k and n matter, so counts of several processes add up.

Memory is bounded: the paths after the first `MOST_PATHS` are counted together, as one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple, Self

MOST_PATHS = 256
OTHER_PATHS = "(other paths)"
ERROR = 0.05
"""α: the chance that any interval of any path ever misses its true rate."""

_BISECTIONS = 50


class Rate(NamedTuple):
    """How often a path differs: `differing` of `comparisons`, and the interval the true rate lies in."""

    differing: int
    comparisons: int
    low: float
    high: float

    @property
    def estimate(self) -> float:
        """The share observed; 0 of none."""
        return self.differing / self.comparisons if self.comparisons else 0.0


class PathFinding(NamedTuple):
    """One path: its rate between the arms, between the incumbent and its repeat, and what is certain.

    Neither `exceeds` nor `quiet` holds while there is too little evidence.

    Attributes:
        exceeds: it certainly differs more often between the arms than the incumbent differs from itself.
        quiet: it certainly does not, by more than a rate of `PathNoise.margin`.
    """

    path: str
    arms: Rate
    noise: Rate
    exceeds: bool
    quiet: bool


class PathNoise:
    """Counts, path by path, how often the arms differ and how often the incumbent differs from itself."""

    def __init__(self, error: float = ERROR, margin: float = 0.05) -> None:
        """`error` is α for all paths together, `margin` the excess of a rate that would matter."""
        self.error = error
        self.margin = margin
        self._arms_seen = 0
        self._noise_seen = 0
        self._paths: dict[str, tuple[int, int]] = {}

    def observe(self, arms: Iterable[str] | None, noise: Iterable[str] | None) -> None:
        """One request's paths that differ between the arms, and between the incumbent and its repeat.

        None says that this was not compared; an empty one that nothing differed.
        """
        self._arms_seen += arms is not None
        self._noise_seen += noise is not None
        between = self._known(arms or ())
        within = self._known(noise or ())
        for path in sorted(between | within):
            count, noisy = self._paths.get(path, (0, 0))
            self._paths[path] = count + (path in between), noisy + (path in within)

    def findings(self) -> tuple[PathFinding, ...]:
        """Every listed path: the certain ones first, then by how much more often the arms differ."""
        found = [self._finding(path, *counts) for path, counts in self._paths.items()]
        found.sort(key=lambda one: (not one.exceeds, one.noise.estimate - one.arms.estimate, one.path))
        return tuple(found)

    def exceeding(self) -> tuple[str, ...]:
        """The paths that certainly differ more often between the arms."""
        return tuple(found.path for found in self.findings() if found.exceeds)

    def merge(self, other: PathNoise) -> None:
        """Add what another process counted of the same endpoint and trial, other requests of it."""
        self._arms_seen += other._arms_seen
        self._noise_seen += other._noise_seen
        unlisted = []
        for path, (count, noisy) in other._paths.items():
            if path in self._paths or (len(self._paths) < MOST_PATHS and path != OTHER_PATHS):
                mine = self._paths.get(path, (0, 0))
                self._paths[path] = mine[0] + count, mine[1] + noisy
            else:
                unlisted.append((count, noisy))
        if unlisted:
            # In how many requests several paths differed together is not known any more. The least for the
            # arms and the most for the noise keep the promise: what is said to exceed its noise does.
            mine = self._paths.get(OTHER_PATHS, (0, 0))
            most = mine[0] + max(count for count, _ in unlisted)
            noise = min(self._noise_seen, mine[1] + sum(noisy for _, noisy in unlisted))
            self._paths[OTHER_PATHS] = most, noise

    def dump(self) -> dict[str, object]:
        """The counts as a JSON-able value."""
        paths = {path: list(counts) for path, counts in self._paths.items()}
        return {"arms": self._arms_seen, "noise": self._noise_seen, "paths": paths}

    @classmethod
    def load(cls, dumped: Mapping[str, object], error: float = ERROR, margin: float = 0.05) -> Self:
        """What `dump` wrote. Raises ValueError for anything else."""
        loaded = cls(error, margin)
        paths = dumped.get("paths")
        if not isinstance(paths, dict) or len(paths) > MOST_PATHS + 1:
            raise ValueError("these are no counts of paths")
        loaded._arms_seen, loaded._noise_seen = _count(dumped.get("arms")), _count(dumped.get("noise"))
        for path, counts in paths.items():
            if not isinstance(path, str) or not isinstance(counts, list | tuple) or len(counts) != 2:
                raise ValueError("these are no counts of paths")
            between, within = counts
            loaded._paths[path] = _count(between, loaded._arms_seen), _count(within, loaded._noise_seen)
        return loaded

    def _known(self, paths: Iterable[str]) -> set[str]:
        """`paths` as they are listed; new ones are listed while there is room."""
        known = set()
        for path in paths:
            if path not in self._paths:
                if len(self._paths) >= MOST_PATHS:
                    known.add(OTHER_PATHS)
                    continue
                self._paths[path] = (0, 0)
            known.add(path)
        return known

    def _finding(self, path: str, count: int, noisy: int) -> PathFinding:
        share = self.error / (2 * (MOST_PATHS + 1))
        arms = Rate(count, self._arms_seen, *interval(count, self._arms_seen, share))
        noise = Rate(noisy, self._noise_seen, *interval(noisy, self._noise_seen, share))
        return PathFinding(path, arms, noise, arms.low > noise.high, arms.high < noise.low + self.margin)


def interval(count: float, comparisons: int, error: float) -> tuple[float, float]:
    """The rates that `count` of `comparisons` leaves possible, at every moment at once, but for `error`.

    `count` may be a sum of numbers in [0, 1], and the rate their mean: M's factors are convex in such a
    number, so M is at most what it is for 0 and 1.
    """
    if not comparisons:
        return 0.0, 1.0
    estimate = count / comparisons
    bound = -math.log(error)
    low = 0.0 if not count else _edge(count, comparisons, 0.0, estimate, bound)
    high = 1.0 if count == comparisons else _edge(count, comparisons, 1.0, estimate, bound)
    return low, high


def _edge(count: float, comparisons: int, outside: float, inside: float, bound: float) -> float:
    """Where the logarithm of M reaches `bound`, between a rate beyond it and one within; from without."""
    rest = comparisons - count
    mixture = (
        math.lgamma(count + 0.5) + math.lgamma(rest + 0.5) - math.lgamma(comparisons + 1) - math.log(math.pi)
    )
    for _ in range(_BISECTIONS):
        middle = (outside + inside) / 2
        if not 0.0 < middle < 1.0:
            break
        likelihood = (count * math.log(middle) if count else 0.0) + (
            rest * math.log1p(-middle) if rest else 0.0
        )
        if mixture - likelihood < bound:
            inside = middle
        else:
            outside = middle
    return outside


def _count(value: object, most: float = math.inf) -> int:
    if type(value) is int and 0 <= value <= most:
        return value
    raise ValueError(f"{value!r} is no count of differences")
