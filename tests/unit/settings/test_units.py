from __future__ import annotations

import contextlib
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from settings import units
from settings.schema import Address

anything = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.integers()), st.binary()
)
quantities = st.from_regex(r"-?[0-9]{0,20}\.?[0-9]{0,12} ?(ms|s|m|h|d|[kKMGT]i?B|%|)", fullmatch=True)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("250ms", 0.25),
        ("2s", 2.0),
        ("10m", 600.0),
        ("1h", 3600.0),
        ("7d", 604800.0),
        ("0s", 0.0),
        ("1.5s", 1.5),
    ],
)
def test_durations_are_seconds(text: str, seconds: float) -> None:
    assert units.duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "count"),
    [("64KiB", 65536), ("8MiB", 8388608), ("1GiB", 2**30), ("100B", 100), ("1MB", 10**6), ("0.5KiB", 512)],
)
def test_sizes_are_bytes(text: str, count: int) -> None:
    assert units.size(text) == count


@pytest.mark.parametrize(
    "value", ["2", 2, 2.0, True, None, "", "s", "-1s", "1 s", "1w", "1S", "٣s", "1e3s", ".5s"]
)
def test_a_duration_without_a_proper_unit_is_refused_and_shown_how(value: object) -> None:
    with pytest.raises(ValueError, match="250ms"):
        units.duration(value)


@pytest.mark.parametrize("value", ["8", 8, "8mib", "8 MiB", "-8MiB", "8Mi", "8M", "0.3B", "1.0001KiB", None])
def test_a_size_without_a_proper_unit_or_of_half_bytes_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="8MiB"):
        units.size(value)


def test_a_fraction_is_a_percentage_or_a_plain_number() -> None:
    assert units.fraction("1%") == units.fraction(0.01) == 0.01
    assert units.fraction("0.5%") == 0.005


@pytest.mark.parametrize("value", ["1", "%", "-1%", "1 %", "1%%", True, None, [], "1e2%"])
def test_a_fraction_that_is_neither_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="1%"):
        units.fraction(value)


@given(st.integers(0, 10_000))
def test_every_basis_point_can_be_written_as_a_percentage(points: int) -> None:
    assert units.basis_points(f"{Decimal(points) / 100}%") == points


@pytest.mark.parametrize("value", ["0.001%", "33.333%", "100.01%", "101%", 1, 0.01, "1", "-1%", True, None])
def test_shares_are_percentages_of_at_most_everything_in_whole_basis_points(value: object) -> None:
    with pytest.raises(ValueError):
        units.basis_points(value)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8080", Address("127.0.0.1", 8080)),
        ("0.0.0.0:0", Address("0.0.0.0", 0)),
        ("Model_Server-1.example:80", Address("model_server-1.example", 80)),
        ("[::1]:8081", Address("::1", 8081)),
        ("[0:0:0:0:0:0:0:1]:8081", Address("::1", 8081)),
    ],
)
def test_addresses_are_host_and_port(text: str, address: Address) -> None:
    assert units.address(text) == address
    assert units.address(str(address)) == address


@pytest.mark.parametrize(
    "value",
    [
        8080,
        ":8080",
        "8080",
        "localhost",
        "localhost:",
        "localhost:65536",
        "localhost:-1",
        "::1:80",
        "[::1]",
        "[1.2.3.4]:8",
        "127.1:80",
        "1.2.3.4.5:80",
        "a b:80",
        "-a:80",
        "a..b:80",
        "*:80",
        "a:80/x",
        "ä:80",
        "[::1%lo]:80",
        None,
    ],
)
def test_an_address_that_is_none_is_refused_and_shown_how(value: object) -> None:
    with pytest.raises(ValueError, match="write host:port"):
        units.address(value)


@given(st.one_of(anything, quantities))
@settings(deadline=None)
def test_nothing_but_a_value_error_comes_out_of_any_value(value: object) -> None:
    for read in (units.duration, units.size, units.fraction, units.basis_points, units.address):
        with contextlib.suppress(ValueError):
            assert isinstance(read(value), int | float | Address)


@given(st.integers(0, 10**12 - 1), st.sampled_from(["ms", "s", "m", "h", "d"]))
def test_a_longer_unit_of_the_same_number_is_never_shorter(number: int, unit: str) -> None:
    order = ["ms", "s", "m", "h", "d"]
    assert (
        units.duration(f"{number}{order[0]}")
        <= units.duration(f"{number}{unit}")
        <= units.duration(f"{number}d")
    )
