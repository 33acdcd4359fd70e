"""Whatever stands in payloads, cohorts, units and reasons is shown as text, and nothing of it runs."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.support.browser import Driver, Tab
from tests.support.showroom import HOSTILE, Showroom

MARKUP = "document.querySelectorAll('script:not([src]), img[onerror], main b, main iframe').length"


@pytest.fixture(scope="module")
def hostile(room: Showroom) -> str:
    """The request id of a pair with hostile answers, after a kill for a hostile reason."""
    room.post("/api/v1/endpoints/words/kill", {"reason": HOSTILE})
    (pair, *_) = room.get("/api/v1/endpoints/words/pairs?worst=1")["pairs"]
    found: str = pair["request_id"]
    return found


PLACES = (
    "#/audit?name=words",
    "#/time?endpoint=words",
    "#/endpoints/words",
    "#/endpoints/words/pairs",
    "#/why?id={request}",
    "#/endpoints/words/monitoring",
    "#/audit?text=%3Cscript%3Ealert(1)%3C%2Fscript%3E%3Cimg%20src%3Dx%20onerror%3Dalert(2)%3E",
)


@pytest.mark.parametrize("where", PLACES)
def test_hostile_strings_are_text(driver: Driver, room: Showroom, hostile: str, where: str) -> None:
    async def steps(tab: Tab) -> None:
        page = tab.page
        await expect(page.locator("main")).to_contain_text("words")
        await expect(page.locator(".skeleton")).to_have_count(0)
        if "monitoring" not in where:
            await expect(page.locator("main")).to_contain_text("<script>alert(1)</script>")
        assert await page.evaluate(MARKUP) == 0

    driver.drive(f"{room.admin}/{where.format(request=hostile)}", steps)
