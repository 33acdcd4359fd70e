"""Who has only the console finds out what tripped, why, when, who was affected, and what is live now."""

from __future__ import annotations

from playwright.async_api import expect

from tests.support.browser import Driver, Tab
from tests.support.showroom import Showroom


def test_a_newcomer_is_told_what_happened(driver: Driver, room: Showroom) -> None:
    async def steps(tab: Tab) -> None:
        page = tab.page
        main = page.locator("main")
        await page.locator("main a").filter(has_text="hail").first.click()
        await expect(page.locator("h1")).to_have_text("hail")
        await expect(main).to_contain_text("hail-1 serves everybody")  # what is live now
        await expect(main).to_contain_text("hail-2 was taken out at")  # what, and when
        await expect(main).to_contain_text("of predictions flipped against a limit of 1 %")  # why
        await page.get_by_role("navigation").get_by_role("link", name="Release").click()
        await page.get_by_role("link", name="What was live before?").click()
        held = page.get_by_role("region", name="hail", exact=True)
        await expect(held).to_contain_text("hail-2 answered 50 % of the units")  # who was affected
        await page.keyboard.press("]")
        await expect(held).to_contain_text("hail-2 had been taken out")

    driver.drive(f"{room.admin}/", steps)
