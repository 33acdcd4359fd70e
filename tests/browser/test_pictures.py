"""The pictures of the documentation are those that a test run takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.browser import Driver
from tests.support.pictures import FOLDER, PICTURES, take
from tests.support.showroom import Showroom

ROOT = Path(__file__).parents[2]
PNG = b"\x89PNG\r\n"
LARGEST = 150_000


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_can_be_taken_again(driver: Driver, room: Showroom, tmp_path: Path, name: str) -> None:
    taken = take(driver, room, tmp_path, name).read_bytes()
    kept = (FOLDER / f"{name}.png").read_bytes()
    assert taken.startswith(PNG)
    assert len(kept) < LARGEST
    assert taken[16:24] == kept[16:24], "both are of one size"


def test_every_picture_is_shown_in_the_documentation() -> None:
    text = (ROOT / "docs" / "console.md").read_text(encoding="utf-8")
    shown = {name for name in PICTURES if f"images/{name}.png" in text}
    assert shown == PICTURES.keys() == {path.stem for path in FOLDER.glob("*.png")}
