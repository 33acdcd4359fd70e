from __future__ import annotations

import json

import mmh3
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from yggdrasil_engine.engine import UnleashEngine

from routing.hashing import VARIANT_SEED, bucket, normalized


@pytest.mark.parametrize(("identifier", "group", "expected"), [("123", "gr1", 73), ("999", "groupX", 25)])
def test_rollouts_hash_as_in_every_unleash_sdk(identifier: str, group: str, expected: int) -> None:
    # The values that the Node, Java, Go, Ruby and Python SDKs hold in common in their own tests.
    assert normalized(identifier, group, 100) == expected


@pytest.mark.parametrize(("identifier", "group", "expected"), [("123", "gr1", 96), ("999", "groupX", 60)])
def test_variants_hash_with_their_own_seed(identifier: str, group: str, expected: int) -> None:
    assert normalized(identifier, group, 100, VARIANT_SEED) == expected


@pytest.mark.parametrize(
    ("flag", "user", "total", "low", "high"),
    [
        # Unleash client specification 6.1.0, 08-variants: equal weights, so the variant gives the range.
        ("Feature.Variants.B", "2", 2, 2, 2),
        ("Feature.Variants.B", "0", 2, 1, 1),
        ("Feature.Variants.C", "232", 99, 1, 33),
        ("Feature.Variants.C", "607", 99, 34, 66),
    ],
)
def test_variants_fall_where_the_specification_puts_them(
    flag: str, user: str, total: int, low: int, high: int
) -> None:
    assert low <= normalized(user, flag, total, VARIANT_SEED) <= high


def test_variants_on_a_modulus_of_1000_fall_where_the_reference_engine_puts_them() -> None:
    # A thousand variants of weight 1: the variant's name is the normalised hash.
    variants = [{"name": str(place), "weight": 1, "stickiness": "default"} for place in range(1, 1001)]
    feature = {"name": "rain-v2", "enabled": True, "strategies": [], "variants": variants}
    engine = UnleashEngine()
    engine.take_state(json.dumps({"version": 2, "features": [feature]}))
    for user in ("7", "", "é", "42", "somebody@example.org"):
        chosen = engine.get_variant("rain-v2", {"userId": user})
        assert chosen.variant.name == str(normalized(user, "rain-v2", modulus=1000, seed=86028157))


def test_the_variant_seed_is_the_one_of_the_specification() -> None:
    assert VARIANT_SEED == 86028157


@given(identifier=st.text(), group=st.text(), modulus=st.integers(1, 100_000), seed=st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_normalized_is_murmur3_from_one_to_the_modulus(
    identifier: str, group: str, modulus: int, seed: int
) -> None:
    unsigned = mmh3.mmh3_32_uintdigest(f"{group}:{identifier}".encode(), seed)
    assert normalized(identifier, group, modulus, seed) == unsigned % modulus + 1


@given(release=st.text(), unit=st.text())
@settings(deadline=None)
def test_a_bucket_is_from_0_to_9999_and_counts_from_zero(release: str, unit: str) -> None:
    assert bucket(release, unit) == mmh3.mmh3_32_uintdigest(f"{release}:{unit}".encode()) % 10_000


@pytest.mark.parametrize("length", [*range(9), 400, *range(505, 516), 5000])
def test_a_unit_of_any_length_is_hashed_to_its_last_byte(length: int) -> None:
    unit = "é" * (length % 2) + "u" * length
    assert bucket("rain", unit) == mmh3.hash(f"rain:{unit}".encode(), 0, False) % 10_000
    assert bucket(unit, "rain") == mmh3.hash(f"{unit}:rain".encode(), 0, False) % 10_000


def test_a_unit_that_has_no_utf8_is_hashed_and_does_not_end_the_process() -> None:
    assert 0 <= bucket("release", "\ud800") <= 9999
    assert bucket("release", "\ud800") != bucket("release", "\ud801")


def test_each_release_draws_its_own_units() -> None:
    units = [str(number) for number in range(2000)]
    first = {unit for unit in units if bucket("one", unit) < 1000}
    second = {unit for unit in units if bucket("two", unit) < 1000}
    assert 100 < len(first) < 300
    assert len(first & second) < len(first) // 2
