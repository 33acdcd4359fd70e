"""Between which bounds a signal's mean lies: a confidence sequence, from three running sums.

The problem. An interval that holds with 95 % at one moment does not hold at every look. A confidence sequence
does: the chance that it *ever* misses the mean is at most 5 %.

The idea. A mean m is still possible as long as nobody has become rich by betting against it. Betting on every
m at once would cost a wealth per m and vote. But ln(1 + λ(x − m)) is concave in x, so it lies above the
straight lines between its values at `low`, 0 and `high`; and the sum of such lines depends on the votes only
through their number, their sum and the sum of their absolute values. The wealth that this gives is never more
than the real one, so the bounds hold for every distribution, and are exact for x in {0, 1} or {−1, 0, 1}, as
most signals are. They are wide for a signal that takes many values close together.

They hold for a mean that stays as it is. Since a reported rise begins at a vote that the votes themselves
chose, the bounds of a stretch pay for that choice: one that begins after v votes has a share w_v of the
error, with Σ w_v ≤ 1, and so all stretches hold together.

Sources. Waudby-Smith & Ramdas, JRSS B 2024 (betting); Howard, Ramdas, McAuliffe & Sekhon, "Time-uniform,
nonparametric, nonasymptotic confidence sequences", Annals of Statistics 2021.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from killswitch.evidence import START, Floats, restart_weight

_FRACTIONS = np.geomspace(0.97, 1e-4, 20)
"""The stakes, as parts of the largest one with which nobody can be ruined."""

_LOG_WEIGHTS = np.log([0.3] + [0.7 / (len(_FRACTIONS) - 1)] * (len(_FRACTIONS) - 1))
"""More on the largest stake, which is best while nothing happens at all."""

_LOOKS = 60
_SAME_END = 3
_FINEST = 2.0**-30
"""A bound is worked out to this part of the way from the end of the range to the mean."""


def bounds(
    count: int, total: float, absolute: float, low: float, high: float, error: float
) -> tuple[float, float]:
    """The lowest and the highest mean in [low, high] that `count` votes leave possible, but for `error`.

    `total` is the sum of the votes, `absolute` that of their absolute values.
    """
    if count <= 0:
        return low, high
    above, below = (absolute + total) / 2, (absolute - total) / 2
    goal = math.log(2 / error)
    mean = min(max(total / count, low), high)

    def rises(m: float) -> float:
        return _log_wealth(count, above, below, m, low, high, _FRACTIONS / (m - low))

    def falls(m: float) -> float:
        return _log_wealth(count, above, below, m, low, high, -_FRACTIONS / (high - m))

    return _edge(rises, low, mean, goal), _edge(falls, high, mean, goal)


def share_of_error(votes_before: int) -> float:
    """w_v: the part of the error that a stretch gets which begins after `votes_before` votes."""
    return restart_weight(votes_before) if votes_before else START


def _log_wealth(
    count: int, above: float, below: float, m: float, low: float, high: float, stakes: Floats
) -> float:
    """At most the logarithm of the mean wealth of bets against the mean m. 0 lies in [low, high]."""
    quiet = np.log1p(-stakes * m)
    wealth = count * quiet
    if above and high > 0:
        wealth = wealth + above / high * (np.log1p(stakes * (high - m)) - quiet)
    if below and low < 0:
        wealth = wealth + below / -low * (np.log1p(stakes * (low - m)) - quiet)
    return float(np.logaddexp.reduce(wealth + _LOG_WEIGHTS))


def _edge(log_wealth: Callable[[float], float], outer: float, inner: float, goal: float) -> float:
    """Where between `outer` and `inner` the bets stop refuting; `outer` when they refute nothing.

    The logarithm of the wealth grows about as the square of the way from the mean, so its root is nearly a
    straight line, and the chord between what is known of both ends leads there in a few looks (regula falsi,
    Illinois variant). The middle is looked at while nothing is known of the outer end, and when the chord
    has moved one end alone too often.
    """
    refuted, possible = outer, inner
    above, below = math.inf, -math.sqrt(goal)
    same, refuting = 0, False
    for _ in range(_LOOKS):
        width = possible - refuted
        if abs(width) <= _FINEST * abs(inner - outer):
            break
        halving = above == math.inf or same == _SAME_END
        part = 0.5 if halving else min(max(above / (above - below), _FINEST), 1 - _FINEST)
        looked = refuted + width * part
        if looked in (refuted, possible):
            break
        found = log_wealth(looked)
        height = math.copysign(math.sqrt(abs(found)), found) - math.sqrt(goal)
        same = 1 if halving or refuting != (height >= 0) else same + 1
        refuting = height >= 0
        if refuting:
            refuted, above = looked, height
            below = below / 2 if same > 1 else below
        else:
            possible, below = looked, height
            above = above / 2 if same > 1 else above
    return refuted
