"""When something is tried again: never at once, never for ever, never faster than asked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import settings as options
from hypothesis import strategies as st

from notify.retry import LONGEST_WAIT, Fate, Pace, fate, retry_after

PACE = Pace()


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True), st.none() | st.floats(0, 1e9))
@options(deadline=None)
def test_a_pause_is_bounded_and_no_shorter_than_asked_for(
    attempts: int, draw: float, asked: float | None
) -> None:
    pause = PACE.pause(attempts, draw, asked)
    assert 0.5 * PACE.first <= pause <= max(1.5 * PACE.longest, LONGEST_WAIT)
    assert pause >= min(asked or 0.0, LONGEST_WAIT)


@given(st.floats(0, 1, exclude_max=True))
@options(deadline=None)
def test_pauses_never_get_shorter(draw: float) -> None:
    pauses = [PACE.pause(attempts, draw) for attempts in range(1, 30)]
    assert pauses == sorted(pauses)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (200, Fate.DELIVERED),
        (202, Fate.DELIVERED),
        (204, Fate.DELIVERED),
        (301, Fate.AGAIN),
        (307, Fate.AGAIN),
        (400, Fate.REFUSED),
        (401, Fate.AGAIN),
        (403, Fate.AGAIN),
        (404, Fate.AGAIN),
        (408, Fate.AGAIN),
        (410, Fate.REFUSED),
        (413, Fate.REFUSED),
        (422, Fate.REFUSED),
        (429, Fate.AGAIN),
        (500, Fate.AGAIN),
        (503, Fate.AGAIN),
    ],
)
def test_what_a_status_means(status: int, expected: Fate) -> None:
    assert fate(status) is expected


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (None, None),
        ("", None),
        ("7", 7.0),
        ("0", 0.0),
        (" 7 ", 7.0),
        ("9" * 500, LONGEST_WAIT),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 90.0),
        ("Thu, 01 Jan 1970 00:00:05 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", LONGEST_WAIT),
        ("٧", None),
        ("Thu, 01 Jan 99999999999 00:00:00 GMT", None),
        ("Thu, 01 Jan 1970 00:00:00 +99999999999999", None),
    ],
)
def test_a_wait_is_read_as_seconds_or_as_a_date(field: str | None, expected: float | None) -> None:
    assert retry_after(field, 10.0) == expected


@given(st.text())
@options(deadline=None)
def test_no_field_breaks_the_reading(field: str) -> None:
    found = retry_after(field, 10.0)
    assert found is None or 0.0 <= found <= LONGEST_WAIT
