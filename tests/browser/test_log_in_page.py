"""Logging in: a token becomes a session; one comes back to where one wanted to go, and sees what one may."""

from __future__ import annotations

from pathlib import Path

from playwright.async_api import expect

from domain.role import Role
from tests.support.access import issue
from tests.support.browser import Driver, Tab
from tests.support.control import ControlProcess, document, write


def test_a_token_opens_the_console_for_what_its_role_may_do(driver: Driver, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens.json"
    secret = issue(tokens, "night-shift", Role.VIEWER)
    write(tmp_path, {**document(tmp_path), "auth": {"tokens_file": str(tokens)}})
    control = ControlProcess(tmp_path)

    async def steps(tab: Tab) -> None:
        page = tab.page
        await expect(page.locator("h1")).to_have_text("Log in")
        await page.get_by_label("Token").fill("pmn_wrong_wrong")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("alert")).to_contain_text("not known here")
        await page.get_by_label("Token").fill(secret)
        await page.keyboard.press("Enter")
        await expect(page.locator("h1")).to_have_text("Release of rain-2")
        await expect(page.locator(".who")).to_have_text("night-shift")
        await expect(page.get_by_role("button", name="Start a release")).to_have_count(0)
        assert secret not in await page.content()
        await page.get_by_role("button", name="Log out").click()
        await expect(page.locator("h1")).to_have_text("Log in")

    try:
        driver.drive(f"{control.admin}/#/endpoints/rain/release", steps, forgiven={401})
    finally:
        control.terminate()
