"""Pictures of the console for the documentation, taken of a live gateway.

python -m tests.support.pictures [FOLDER]       into docs/images, unless told otherwise
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from playwright.async_api import expect

from tests.support import browser
from tests.support.browser import Driver, Tab
from tests.support.showroom import Showroom, showroom

FOLDER = Path(__file__).parents[2] / "docs" / "images"
PICTURES = {
    "overview": "",
    "endpoint": "#/endpoints/hail",
    "pairs": "#/endpoints/hail/pairs",
    "release": "#/endpoints/rain/release",
    "time-machine": "#/time?endpoint=rain",
    "monitoring": "#/endpoints/rain/monitoring?column=humidity",
}
"""What is shown, by the name of its picture."""

WIDTH, HEIGHT = 1280, 800


def take(driver: Driver, room: Showroom, folder: Path, name: str) -> Path:
    """One of PICTURES, in `folder`."""
    path = folder / f"{name}.png"

    async def steps(tab: Tab) -> None:
        await expect(tab.page.locator("h1")).to_be_visible()
        await expect(tab.page.locator(".skeleton")).to_have_count(0)
        await tab.page.screenshot(path=path)

    driver.drive(f"{room.admin}/{PICTURES[name]}", steps, width=WIDTH, height=HEIGHT)
    return path


def main() -> int:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    with (
        browser.started() as driver,
        tempfile.TemporaryDirectory() as files,
        showroom(Path(files)) as room,
    ):
        for name in PICTURES:
            path = take(driver, room, folder, name)
            print(f"{path}: {path.stat().st_size} bytes", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
