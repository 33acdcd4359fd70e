"""What comes over the network cannot steer the operator's terminal."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from console.text import moment, number, share, visible

any_text = st.text(st.characters(exclude_categories=()))


@given(any_text)
def test_visible_text_holds_no_control_format_or_surrogate_character(text: str) -> None:
    left = {unicodedata.category(character) for character in visible(text)}
    assert not left & {"Cc", "Cf", "Cs", "Zl", "Zp"}


@given(any_text)
def test_visible_text_is_left_as_it_is(text: str) -> None:
    assert visible(visible(text)) == visible(text)


def test_hidden_characters_are_shown_not_dropped() -> None:
    assert visible("a\x1b[31mb\u202ec\nd") == "a\\x1b[31mb\\u202ec\\nd"
    assert visible("Grüße 雨 [bold]") == "Grüße 雨 [bold]"


def test_numbers_are_short_and_grouped() -> None:
    assert [number(value) for value in (0, 0.23456, 5000, 40321.7, 1e120, None)] == [
        "0",
        "0.2346",
        "5 000",
        "40 322",
        "1e+120",
        "–",
    ]
    assert share(0.125) == "12.5 %"


def test_moments_are_shown_in_utc_and_unreadable_ones_as_they_are() -> None:
    assert moment("2026-01-02T03:04:05.678901+01:00") == "2026-01-02 02:04:05.678 UTC"
    assert moment("yesterday\x07") == "yesterday\\x07"
    assert moment(None) == "–"
