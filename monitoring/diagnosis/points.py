"""Change points: when the level of a sequence moved, between which instants, and whether it moved at all.

The problem. Of values in the order of time it is asked when their level changed. There is a best place for
that in any sequence, noise too, and in a rare signal (one error in a thousand) two errors near an end look
like a level of their own to every test that thinks in standard deviations.

The idea. For values in [0, 1] and each place k the generalised log-likelihood ratio of two levels against one
is

    G(k) = k · kl(mean before k ‖ mean) + (n − k) · kl(mean from k on ‖ mean),

kl that of Bernoulli variables. The change is where G is largest; where G is within 3.7 of that it may as well
have been (each side exceeds that with a chance of e^−3.7, 5 % for both). G(k) divided by its largest value
says how well a step at k explains what the best one does, which is how a recorded change is held against it.

What holds. Where nothing has changed, every order of the values is equally likely. Then the values on one
side of k are a sample without replacement. Of zeros and ones their sum is hypergeometric, and its tail is
exact; for any other values in [0, 1] P(mean of k ≥ m) ≤ exp(−k · kl(m ‖ mean)). So p = 2 (n − 1) · that, the
union over all places and both directions, is never too small, for rare signals neither. It supposes values
that do not depend on each other; of several that share their fate, such as the answers to one request,
`together` makes one.

Several changes are found one after another: each part is split until nothing in it is certain.

Sources. Hoeffding, "Probability inequalities for sums of bounded random variables", JASA 1963, theorem 1 and
section 6 (the bound, without replacement too); Hinkley & Hinkley, "Inference about the change-point in a
sequence of binomial variables", Biometrika 1970 (G); Siegmund, "Confidence sets in change-point problems",
International Statistical Review 1988 (the interval); Vostrikova, "Detecting disorder in multidimensional
random processes", Soviet Mathematics Doklady 1981 (binary segmentation).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

CERTAIN = 1e-3
"""The largest p with which a change counts as one."""

SHORTEST = 8
"""Values that a level has at least."""

_APART = 3.7
_AT_ONCE = 10.0
_NOTHING = 1e-9
_DEEPEST = 8


class ChangePoint(NamedTuple):
    """A change within the values from `start` to `end` (exclusive): the first value of the new level is
    `place`, and it may be any from `low` to `high`. `gain` is G there, `p` the chance of it without a change.
    """

    start: int
    place: int
    end: int
    low: int
    high: int
    gain: float
    p: float


def gains(values: Floats) -> Floats:
    """G of each place 1 … n − 1, of shape (n − 1,), for `values` in [0, 1] in the order of time."""
    first, then = _parts(values)
    return first + then


def split(values: Floats, start: int = 0, together: float = 1.0) -> ChangePoint | None:
    """The one change that explains `values`, in [0, 1], best; None with too few. Indices begin at `start`;
    so many values `together` are worth one."""
    count = len(values)
    if count < 2 * SHORTEST:
        return None
    first, then = _parts(values)
    within = slice(SHORTEST - 1, count - SHORTEST)
    gain = (first + then)[within]
    at = int(gain.argmax())
    best = float(gain[at])
    likely = np.flatnonzero(gain >= best - _APART)
    chance = _chance(values, at + SHORTEST, float(max(first[within][at], then[within][at])))
    p = min(1.0, 2.0 * (count - 1) * math.exp(max(-700.0, chance / together)))
    offset = start + SHORTEST
    return ChangePoint(
        start, offset + at, start + count, offset + int(likely[0]), offset + int(likely[-1]), best, p
    )


def changes(values: Floats, certain: float = CERTAIN, together: float = 1.0) -> tuple[ChangePoint, ...]:
    """Every change of `values`, in [0, 1], that is `certain`, in the order of time.

    Each is told between its neighbours: `start` and `end` are where the levels before and after it end.
    """
    found: list[int] = []
    _search(values, (0, len(values)), certain, together, 0, found)
    edges = [0, *sorted(found), len(values)]
    told: list[ChangePoint] = []
    for before, after in zip(edges[:-2], edges[2:], strict=True):
        one = split(values[before:after], before, together)
        if one is not None and one.p <= certain:
            told.append(one)
    return tuple(told)


def fit(values: Floats, place: int) -> float:
    """How well a step before value `place` explains `values`: its part of the best step's G, squared."""
    found = _compared(values, place)
    return 0.0 if found is None else (found[0] / found[1]) ** 2


def coincidence(values: Floats, place: int) -> float:
    """The same for something that may have acted at once: half of it is for lying where the best step may."""
    found = _compared(values, place)
    if found is None:
        return 0.0
    gain, best = found
    return ((gain / best) ** 2 + math.exp(-max(0.0, best - gain - _APART) / _AT_ONCE)) / 2


def above(values: Floats, limit: float) -> float:
    """The chance of a mean as high as that of `values`, in [0, 1], were it `limit` at most in truth."""
    if not len(values) or not 0.0 < limit < 1.0:
        return 1.0
    mean = float(values.mean())
    if mean <= limit:
        return 1.0
    return math.exp(-min(700.0, len(values) * float(_divergence(np.array([mean]), limit)[0])))


def ranks(values: Floats) -> Floats:
    """`values` as their ranks in [0, 1]; equal ones share the middle of theirs."""
    if len(values) < 2:
        return np.zeros(len(values))
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    middle = ends - (counts + 1) / 2
    return np.asarray(middle[inverse] / (len(values) - 1), dtype=np.float64)


def _search(
    values: Floats, part: tuple[int, int], certain: float, together: float, depth: int, found: list[int]
) -> None:
    start, end = part
    one = split(values[start:end], start, together)
    if one is None or one.p > certain or depth >= _DEEPEST:
        return
    found.append(one.place)
    _search(values, (start, one.place), certain, together, depth + 1, found)
    _search(values, (one.place, end), certain, together, depth + 1, found)


def _compared(values: Floats, place: int) -> tuple[float, float] | None:
    """G before value `place`, and the best G; None where there is none, or nothing has changed."""
    if not 0 < place < len(values):
        return None
    gain = gains(values)
    best = float(gain.max())
    return (float(gain[place - 1]), best) if best > _NOTHING else None


def _chance(values: Floats, place: int, bound: float) -> float:
    """The logarithm of the chance that the values before `place` differ so from the others, by their order
    alone; at most −`bound`."""
    total = float(values.sum())
    if not np.all((values == 0.0) | (values == 1.0)):
        return -bound
    count, ones, size = len(values), round(total), place
    found = round(float(values[:place].sum()))
    if found * count < ones * size:  # the side with more of them
        size, found = count - size, ones - found
    whole = _choices(count, ones)
    terms: list[float] = []
    for inside in range(found, min(size, ones) + 1):
        terms.append(_choices(size, inside) + _choices(count - size, ones - inside) - whole)
        if terms[-1] < terms[0] - _APART * 10:
            break
    return terms[0] + math.log(sum(math.exp(term - terms[0]) for term in terms))


def _choices(count: int, chosen: int) -> float:
    """ln of the binomial coefficient."""
    if not 0 <= chosen <= count:
        return -math.inf
    return math.lgamma(count + 1) - math.lgamma(chosen + 1) - math.lgamma(count - chosen + 1)


def _parts(values: Floats) -> tuple[Floats, Floats]:
    """n · kl of the part before each place, and of the part from there on."""
    count = len(values)
    sums = np.cumsum(values)[:-1]
    total = float(values.sum())
    mean = total / count
    before = np.arange(1, count)
    after = count - before
    return before * _divergence(sums / before, mean), after * _divergence((total - sums) / after, mean)


def _divergence(means: Floats, mean: float) -> Floats:
    """kl(means ‖ mean) of Bernoulli variables."""
    if not 0.0 < mean < 1.0:
        return np.zeros(len(means))
    p = np.clip(means, 0.0, 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        ones = np.where(p > 0.0, p * np.log(p / mean), 0.0)
        zeros = np.where(p < 1.0, (1.0 - p) * np.log((1.0 - p) / (1.0 - mean)), 0.0)
    return np.asarray(np.maximum(ones + zeros, 0.0), dtype=np.float64)
