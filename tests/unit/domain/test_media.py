"""How a body is written travels as one text."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.media import JSON, Media


@pytest.mark.parametrize("content_type", ["", "application/json", "Application/JSON; charset=utf-8"])
def test_json_without_a_coding_is_the_empty_text(content_type: str) -> None:
    media = Media.from_fields(content_type, "", "")
    assert media.text() == ""
    assert Media.of("") is JSON
    assert media.is_json


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        (("application/json", "gzip", ""), "application/json\ngzip\n"),
        (("", "", "245"), "\n\n245"),
        (("application/octet-stream", "br", " 17 "), "application/octet-stream\nbr\n17"),
        (("text/event-stream; charset=utf-8", "", ""), "text/event-stream; charset=utf-8\n\n"),
    ],
)
def test_anything_else_is_kept_field_by_field(fields: tuple[str, str, str], text: str) -> None:
    media = Media.from_fields(*fields)
    assert media.text() == text
    assert Media.of(text) == media


def test_the_media_type_is_told_without_case_and_parameters() -> None:
    assert Media("Text/Event-Stream ; charset=utf-8").media_type == "text/event-stream"
    assert not Media("text/html").is_json


@pytest.mark.parametrize("length", ["abc", "-1", "1.5", "٣", "1" * 30])
def test_a_length_that_is_none_is_kept_as_wrong(length: str) -> None:
    assert Media.from_fields("", "", length).header_length == -1


@settings(deadline=None)
@given(st.text(), st.text(), st.text() | st.integers(0, 10**17).map(str))
def test_what_travels_comes_back(content_type: str, content_encoding: str, length: str) -> None:
    media = Media.from_fields(content_type, content_encoding, length)
    text = media.text()
    assert text == "" or Media.of(text) == media
    assert Media.of(text).text() == text


@settings(deadline=None)
@given(st.text(st.characters(codec="utf-8")))
def test_any_text_is_some_media(text: str) -> None:
    assert isinstance(Media.of(text), Media)
