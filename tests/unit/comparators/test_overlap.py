"""Rank-biased overlap against the values of its authors' own program, and Kendall's τ."""

from __future__ import annotations

import itertools
import string

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau

from comparators.overlap import kendall_tau, rank_biased_overlap, top_overlap

RANKINGS = st.lists(st.integers(0, 12), unique=True, max_size=10)


@pytest.mark.parametrize(
    ("other", "p", "expected"),
    [
        ("akdwcjomxrubqitenhspyl", 0.1, 0.948509),
        ("afcmleivjhs", 0.1, 0.951493),
        ("av", 0.2, 0.9),
        ("b", 0.2, 0.092574),
        ("bncxagm", 0.2, 0.105466),
        ("yad", 0.4, 0.187572),
        ("afdqwtvehcpubinloygrs", 0.4, 0.782330),
        ("karfvodcjmwgzlypebunq", 0.9, 0.468431),
        ("zhatsimjpnkvcfxwqgoeryubd", 0.9, 0.364444),
        ("f", 0.9, 0.053090),
        ("sozxjfdenvqkbgryapc", 0.9, 0.307626),
        ("zclx", 0.9, 0.233312),
        ("nxqyk", 0.9, 0.049050),
    ],
)
def test_uneven_lists_agree_with_william_webbers_program(other: str, p: float, expected: float) -> None:
    # Against the alphabet; figures of his C program, as published with the Rust port github.com/mpetri/rbo.
    assert rank_biased_overlap(string.ascii_lowercase, other, p) == pytest.approx(expected, abs=2e-6)


def test_even_lists_agree_with_a_published_example() -> None:
    # README of github.com/b4ny4n/rankmeasures: 0.828 for a first item that went to the fourth rank.
    assert rank_biased_overlap([1, 2, 3, 4, 5], [2, 3, 4, 1, 5], 0.9) == pytest.approx(0.828, abs=5e-4)


def test_ten_ranks_have_86_percent_of_the_weight_at_p_090() -> None:
    # Webber, Moffat & Zobel 2010, equation 21: what lists agree that part for good after ten ranks.
    first, second = [*range(10), *range(100, 1000)], [*range(10), *range(1000, 1900)]
    assert rank_biased_overlap(first, second, 0.9) == pytest.approx(0.8556, abs=1e-4)


@settings(deadline=None)
@given(RANKINGS, RANKINGS, st.floats(0.05, 0.95))
def test_it_is_symmetric_and_within_its_bounds(one: list[int], other: list[int], p: float) -> None:
    there, back = rank_biased_overlap(one, other, p), rank_biased_overlap(other, one, p)
    assert there == pytest.approx(back)
    assert 0.0 <= there <= 1.0
    assert rank_biased_overlap(one, list(one), p) == pytest.approx(1.0)
    if not set(one) & set(other) and (one or other):
        assert there == 0.0


@settings(deadline=None)
@given(st.lists(st.integers(0, 30), unique=True, min_size=3, max_size=12), st.data())
def test_a_swap_nearer_to_the_top_never_weighs_less(items: list[int], data: st.DataObject) -> None:
    near = data.draw(st.integers(0, len(items) - 3))
    far = data.draw(st.integers(near + 1, len(items) - 2))

    def swapped(at: int) -> float:
        other = [*items[:at], items[at + 1], items[at], *items[at + 2 :]]
        return rank_biased_overlap(items, other, 0.9)

    assert swapped(near) <= swapped(far) + 1e-12


@settings(deadline=None)
@given(RANKINGS, RANKINGS, st.floats(0.05, 0.95))
def test_the_running_overlap_is_that_of_the_definition(one: list[int], other: list[int], p: float) -> None:
    short, long = sorted((one, other), key=len)
    s, most = len(short), len(long)
    if not s:
        return
    x = [len(set(short[:d]) & set(long[:d])) for d in range(most + 1)]
    heads = sum(x[d] / d * p**d for d in range(1, most + 1))
    beyond = sum(x[s] * (d - s) / (s * d) * p**d for d in range(s + 1, most + 1))
    tail = ((x[most] - x[s]) / most + x[s] / s) * p**most
    expected = (1 - p) / p * (heads + beyond) + tail
    assert rank_biased_overlap(one, other, p) == pytest.approx(expected)


def test_kendalls_tau_agrees_with_scipy() -> None:
    for seed in range(20):
        order = np.random.default_rng(seed).permutation(30).tolist()
        ranks = [order.index(item) for item in range(30)]
        assert kendall_tau(range(30), order) == pytest.approx(kendalltau(range(30), ranks).statistic)
    assert kendall_tau([1, 2, 3, 4, 5], [3, 4, 1, 2, 5]) == pytest.approx(0.2)
    assert kendall_tau([1, 2, 3], [3, 2, 1]) == -1.0
    assert kendall_tau([1, 2], [3, 1]) is None


@settings(deadline=None)
@given(RANKINGS, RANKINGS)
def test_kendalls_tau_counts_pairs(one: list[int], other: list[int]) -> None:
    common = [item for item in one if item in other]
    signs = [1 if other.index(a) < other.index(b) else -1 for a, b in itertools.combinations(common, 2)]
    expected = sum(signs) / len(signs) if signs else None
    assert kendall_tau(one, other) == (None if expected is None else pytest.approx(expected))


def test_the_overlap_of_heads() -> None:
    assert top_overlap("abcd", "badc", 2) == 1.0
    assert top_overlap("abcd", "acbd", 2) == 0.5
    assert top_overlap("ab", "abcd", 10) == 0.5
    assert top_overlap("", "", 10) == 1.0
    assert top_overlap("", "a", 10) == 0.0
