"""A unit's number is its keyed digest, the same one from C as from Python."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.members import ANSWERED
from domain.observation import Observation
from shadow.units import PythonUnitHash, UnitHash

KEYS = st.binary(min_size=1, max_size=64)
UNITS = st.one_of(st.text(max_size=20), st.text(alphabet="aé\ud800", min_size=60, max_size=400))


@given(KEYS, UNITS)
@settings(deadline=None)
def test_a_unit_is_the_same_number_whoever_works_it_out(key: bytes, unit: str) -> None:
    plain = hashlib.blake2b(unit.encode("utf-8", "replace"), digest_size=8, key=key).digest()
    assert UnitHash(key).digest(unit) == PythonUnitHash(key).digest(unit) == int.from_bytes(plain, "big")


@pytest.mark.parametrize("length", [0, 1, 127, 128, 129, 255, 256, 257])
def test_a_unit_that_ends_with_a_block_ends_there(length: int) -> None:
    key, unit = b"k" * 32, "u" * length
    assert UnitHash(key).digest(unit) == PythonUnitHash(key).digest(unit)


def test_another_key_makes_another_number() -> None:
    assert UnitHash(b"one").digest("user-1") != UnitHash(b"other").digest("user-1")


@pytest.mark.parametrize("key", [b"k" * 65])
def test_a_key_that_blake2b_has_not_is_refused(key: bytes) -> None:
    with pytest.raises(ValueError, match="key"):
        UnitHash(key)


def test_a_named_tuple_made_in_c_is_one() -> None:
    mirrored = pytest.importorskip("shadow._mirrored", reason="only where the twins are used")
    values = ("rain-2", ANSWERED, 200, 0.5, b"{}", "")
    made = mirrored.named(Observation, values)
    assert type(made) is Observation
    assert made == Observation(*values)
    assert made.status == 200
    for wrong in (int, "no class"):
        with pytest.raises(TypeError, match="NamedTuple"):
            mirrored.named(wrong, values)
