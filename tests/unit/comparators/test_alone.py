"""A pair that is compared alone is found to be what it is in a batch, to the last bit."""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from comparators.classification import Classification
from comparators.prediction import Prediction
from comparators.regression import Regression
from comparators.stacking import FEW
from domain.errors import ComparatorFault
from settings.schema import CompareSettings

WILD = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([0.0, -0.0, 0.5, 1.0, 1.0 + 1e-6, -1e-6, math.inf, -math.inf, math.nan, 1e308]),
)
ROWS = st.integers(1, FEW + 1).flatmap(
    lambda width: st.tuples(*[st.lists(WILD, min_size=width, max_size=width)] * 2)
)
SHARES = st.integers(2, FEW + 1).flatmap(
    lambda width: st.tuples(*[st.lists(st.floats(1e-9, 1.0), min_size=width, max_size=width)] * 2)
)


def told(finding: object) -> str:
    return f"{finding.arm} {finding.reason}" if isinstance(finding, ComparatorFault) else repr(finding)


def row(values: list[float]) -> Prediction:
    return Prediction("p", 1, len(values), tuple(values))


def spread(values: list[float]) -> list[float]:
    """Probabilities in those proportions."""
    return [value / math.fsum(values) for value in values]


@settings(deadline=None)
@given(rows=st.one_of(ROWS, SHARES.map(lambda both: tuple(map(spread, both)))), same=st.booleans())
def test_a_pair_alone_is_compared_as_in_a_batch(rows: tuple[list[float], list[float]], same: bool) -> None:
    one = row(rows[0])
    pair = (one, one if same else row(rows[1]))
    for kind in (
        Classification(CompareSettings("classification", threshold=0.3)),
        Classification(CompareSettings("classification", labels=("dry", "rain"))),
        Regression(CompareSettings("regression")),
        Regression(CompareSettings("regression", scale=1e-12, tolerance=3.0)),
    ):
        (alone,) = kind.compare_many([pair])
        first, second = kind.compare_many([pair, pair])
        assert told(alone) == told(first) == told(second)
