"""Every page shows what it is about, wide and narrow, light and dark; nothing goes wrong, all can use it."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.support.browser import Driver, Tab, grave_findings
from tests.support.showroom import Showroom

PAGES = {
    "#/endpoints/rain/release": "Release of rain-2",
    "#/endpoints/fog/release": "Release on fog",
    "#/endpoints/rain/monitoring?column=humidity": "Monitoring of rain",
    "#/endpoints/hail/diagnosis": "What changed on hail?",
    "#/time": "Time machine",
    "#/drills": "Drills",
    "#/audit": "Audit",
    "#/why": "Why this answer?",
    "#/log-in": "Log in",
}


@pytest.mark.parametrize("where", PAGES)
def test_a_page_is_there_for_everybody(driver: Driver, room: Showroom, where: str) -> None:
    async def steps(tab: Tab) -> None:
        page = tab.page
        await expect(page.locator("h1")).to_have_text(PAGES[where])
        await expect(page.locator(".skeleton")).to_have_count(0)
        assert await grave_findings(page) == []
        await page.set_viewport_size({"width": 390, "height": 800})
        await page.emulate_media(color_scheme="dark")
        assert await page.evaluate("document.documentElement.scrollWidth") <= 390, "the page scrolls sideways"
        assert await grave_findings(page) == []

    driver.drive(f"{room.admin}/{where}", steps)


def test_an_address_that_leads_nowhere_says_so(driver: Driver, room: Showroom) -> None:
    async def steps(tab: Tab) -> None:
        await expect(tab.page.get_by_role("alert").first).to_contain_text("No view has the address")

    driver.drive(f"{room.admin}/#/nowhere", steps)


def test_an_endpoint_that_is_not_there_is_told_in_the_servers_words(driver: Driver, room: Showroom) -> None:
    async def steps(tab: Tab) -> None:
        await expect(tab.page.get_by_role("alert").first).to_contain_text("snow")

    driver.drive(f"{room.admin}/#/endpoints/snow/release", steps, forgiven={404})
