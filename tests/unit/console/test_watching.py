"""`status --watch`: what it says while the gateway answers, is away, and is back."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from rich.console import Console, RenderableType
from rich.text import Text

from console.client import Refused, Unreachable
from console.watching import Lines, Pages, Sight, heading, watch

DOWN = {"type": "about:blank", "title": "Gateway unreachable", "status": 0, "detail": "nothing listens"}
BASE = "http://127.0.0.1:8081"


@pytest.fixture
def pipes() -> Iterator[tuple[int, int, int, int]]:
    """A waker and keys, as (reading, writing, reading, writing)."""
    ends = (*os.pipe(), *os.pipe())
    yield ends
    for end in ends:
        os.close(end)


class Shown:
    """Keeps what was shown; presses `q` after `looks` of them."""

    def __init__(self, pipes: tuple[int, int, int, int], looks: int) -> None:
        self.sights: list[Sight] = []
        self._pipes, self._looks = pipes, looks

    def show(self, sight: Sight) -> None:
        self.sights.append(sight)
        os.write(self._pipes[1], b"!")
        if len(self.sights) > self._looks:
            os.write(self._pipes[3], b"q")


def watched(pipes: tuple[int, int, int, int], *found: object) -> list[Sight]:
    """What is shown for looks that find `found`: answers, or errors that are raised."""
    rest = iter(found)
    times = iter(range(1, 1000))

    def look() -> object:
        one = next(rest)
        if isinstance(one, Exception):
            raise one
        return one

    shown = Shown(pipes, len(found))
    watch("first", look, shown, pipes[0], pipes[2], lambda: float(next(times)))
    return shown.sights


def test_every_look_is_shown_until_q(pipes: tuple[int, int, int, int]) -> None:
    assert [one.answer for one in watched(pipes, "second", "third")] == ["first", "second", "third"]


def test_an_absence_keeps_the_last_answer_and_since_when(pipes: tuple[int, int, int, int]) -> None:
    away = watched(pipes, Unreachable("gone"), Unreachable("still gone"))[-1]
    assert (away.answer, away.at, away.away) == ("first", 1.0, 2.0)
    assert away.problem is not None
    assert away.problem["detail"] == "still gone"


def test_a_return_says_how_long_it_was_away(pipes: tuple[int, int, int, int]) -> None:
    back = watched(pipes, Unreachable("gone"), Unreachable("gone"), "back")[-1]
    assert (back.answer, back.problem, back.away, back.back, back.gap) == ("back", None, None, 4.0, 2.0)


@pytest.mark.parametrize(
    ("error", "title"),
    [
        (Refused({"title": "Unauthorized", "status": 401, "detail": "say who you are"}), "Unauthorized"),
        (msgspec.ValidationError("expected int"), "Unreadable answer"),
    ],
)
def test_a_refusal_and_an_unreadable_answer_do_not_end_it(
    pipes: tuple[int, int, int, int], error: Exception, title: str
) -> None:
    sights = watched(pipes, error, "back")
    assert sights[1].problem is not None
    assert sights[1].problem["title"] == title
    assert sights[2].answer == "back"


def test_a_clock_that_is_set_back_makes_no_negative_absence() -> None:
    away = Sight("a", 100.0).missed(DOWN, 100.0)
    assert away.answered("b", 40.0).gap == 0.0


def drawn(thing: RenderableType, width: int = 60) -> str:
    out = io.StringIO()
    Console(file=out, width=width).print(thing)
    return out.getvalue()


def test_the_heading_says_what_is_old_and_that_clients_are_served() -> None:
    away = Sight("a", 0.0).missed({**DOWN, "detail": "gone\x1b[2J"}, 5.0)
    said = " ".join(drawn(heading(away, BASE)).split())
    assert "not seen since 00:00:05 UTC: gone\\x1b[2J" in said
    assert "how it stood at 00:00:00 UTC" in said
    assert "data plane serves on" in said
    back = away.answered("b", 12.0)
    assert "was away for 7 s" in " ".join(drawn(heading(back, BASE)).split())


def test_json_is_a_line_for_every_change(capsys: pytest.CaptureFixture[str]) -> None:
    face = Lines()
    first = Sight({"n": 1}, 0.0)
    for one in (first, first.answered({"n": 1}, 1.0), first.missed(DOWN, 2.0), first.missed(DOWN, 3.0),
                first.answered({"n": "\x1b\u202e"}, 4.0)):  # fmt: skip
        face.show(one)
    out = capsys.readouterr().out
    assert [json.loads(line) for line in out.splitlines()] == [{"n": 1}, DOWN, {"n": "\x1b\u202e"}]
    assert out.isascii()


def test_a_pipe_gets_a_table_for_every_change_and_none_while_away() -> None:
    tables: list[str] = []

    def show(*parts: Any) -> None:
        tables.append(" | ".join(drawn(part).strip() for part in parts))

    face = Pages(BASE, lambda answer: Text(f"table {answer}"), show)
    first = Sight("a", 0.0)
    for one in (first, first.answered("a", 1.0), first.missed(DOWN, 2.0), first.answered("b", 3.0)):
        face.show(one)
    assert ["table" in one for one in tables] == [True, False, True]
    assert tables[2].endswith("table b")


def test_events_in_a_row_are_one_look(pipes: tuple[int, int, int, int]) -> None:
    os.write(pipes[1], b"!" * 500)
    assert [one.answer for one in watched(pipes, "second")] == ["first", "second"]
