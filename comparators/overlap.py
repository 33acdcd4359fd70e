"""How alike two rankings are: rank-biased overlap, the overlap of their heads, Kendall's τ.

Rank-biased overlap (Webber, Moffat & Zobel 2010, A similarity measure for indefinite rankings, ACM TOIS 28,
20) is the overlap that somebody expects to see who reads both lists from the top and goes on to the next
rank with probability p. What differs at the top weighs most, lists need not hold the same items nor be of
the same length, and what lies beyond their ends is extrapolated: `RBO_ext`, equation 32. With p = 0.9 the
first ten ranks have 86 % of the weight.

Items are distinct; callers keep the first of equal ones.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Hashable, Sequence


def rank_biased_overlap(one: Sequence[Hashable], other: Sequence[Hashable], p: float) -> float:
    """RBO_ext in [0, 1] of two lists of distinct items; 1 for two empty lists, 0 for an empty and another.

    With l and s the lengths of the longer and the shorter list, and X_d the items that both hold among their
    first d: (1−p)/p · (Σ_{d≤l} X_d/d·p^d + Σ_{s<d≤l} X_s(d−s)/(s·d)·p^d) + ((X_l − X_s)/l + X_s/s)·p^l.
    """
    short, long = (one, other) if len(one) <= len(other) else (other, one)
    s, l = len(short), len(long)  # noqa: E741 - the paper's letters
    if not s:
        return 1.0 if not l else 0.0
    seen_short: set[Hashable] = set()
    seen_long: set[Hashable] = set()
    overlap = overlap_at_s = 0
    total, weight = 0.0, 1.0
    for d in range(1, l + 1):
        weight *= p
        item = long[d - 1]
        seen_long.add(item)
        if d <= s:
            fellow = short[d - 1]
            seen_short.add(fellow)
            overlap += (fellow in seen_long) + (item in seen_short) - (fellow == item)
            overlap_at_s = overlap
            total += overlap / d * weight
        else:
            overlap += item in seen_short
            total += (overlap / d + overlap_at_s * (d - s) / (s * d)) * weight
    tail = ((overlap - overlap_at_s) / l + overlap_at_s / s) * weight
    return min(1.0, max(0.0, (1.0 - p) / p * total + tail))


def top_overlap(one: Sequence[Hashable], other: Sequence[Hashable], top: int) -> float:
    """The share of the first `top` items that both have; of the longer head, where lists are shorter."""
    first, second = set(one[:top]), set(other[:top])
    most = max(len(first), len(second))
    return len(first & second) / most if most else 1.0


def kendall_tau(one: Sequence[Hashable], other: Sequence[Hashable]) -> float | None:
    """τ in [−1, 1] over the items that both have; None when these are fewer than two.

    Concordant less discordant pairs, by the number of pairs (Kendall 1938). O(n log n) comparisons.
    """
    ranks = {item: rank for rank, item in enumerate(other)}
    order = [ranks[item] for item in one if item in ranks]
    if len(order) < 2:
        return None
    earlier: list[int] = []
    discordant = 0
    for rank in order:
        discordant += len(earlier) - bisect_left(earlier, rank)
        insort(earlier, rank)
    return 1.0 - 4.0 * discordant / (len(order) * (len(order) - 1))
