"""Instants: one text means one instant, or is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit import times

END = 253_370_764_800_000_000
"""The year 9999 begins: times near one that was read are times as well."""


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1970-01-01T00:00:00.000001+00:00", 1),
        ("1969-12-31T23:59:59Z", -1_000_000),
        ("2026-03-29T02:30:00+02:00", 1_774_744_200_000_000),
    ],
)
def test_an_instant_with_its_offset_is_read(text: str, at: int) -> None:
    assert times.parse(text) == at


@pytest.mark.parametrize("text", ["2026-03-29T02:30:00", "2026-03-29", "2026-03-29 02:30"])
def test_a_time_without_offset_is_refused_because_it_is_many_instants(text: str) -> None:
    with pytest.raises(ValueError, match="has no offset, so it could be many instants"):
        times.parse(text)


@pytest.mark.parametrize(
    "text", ["", "now", "yesterday", "2026-13-01T00:00:00Z", "1774744200", "2026-03-29T25:00Z"]
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="ISO 8601"):
        times.parse(text)


@given(st.integers(0, END - 1))
def test_an_instant_that_was_written_reads_back(at: int) -> None:
    assert times.parse(times.iso(at)) == at


@pytest.mark.parametrize(
    "text",
    [
        "9999-01-01T00:00:00Z",
        "9999-12-31T23:59:59-12:00",
        "0001-12-31T23:59:59Z",
        "0001-01-01T00:00:00+14:00",
    ],
)
def test_a_time_whose_surroundings_cannot_be_written_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"out of range; .* of the years 2 to 9998"):
        times.parse(text)
