"""The time machine: what was live at an instant, and the way from change to change."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

from playwright.async_api import expect

from tests.support.browser import Driver, Tab
from tests.support.showroom import Showroom

SPOKEN = re.compile("incumbent rain-1: data weather 16.*candidate rain-2: data weather 17")


def trip(room: Showroom) -> dict[str, Any]:
    found: dict[str, Any] = room.get("/api/v1/audit/search?action=switch.tripped&name=hail")["events"][-1]
    return found


def test_before_a_trip_the_candidate_was_live_and_after_it_the_incumbent(
    driver: Driver, room: Showroom
) -> None:
    at = datetime.fromisoformat(trip(room)["at"]) - timedelta(milliseconds=20)

    async def steps(tab: Tab) -> None:
        page = tab.page
        held = page.get_by_role("region", name="hail", exact=True)
        await expect(held).to_contain_text("hail-2 answered 50 % of the units")
        await page.keyboard.press("]")
        await expect(held).to_contain_text("hail-2 had been taken out")
        await expect(held).to_contain_text("guard:flips")
        await page.keyboard.press("[")
        await expect(held).to_contain_text("hail-2 answered 50 % of the units")
        assert "at=" in await page.evaluate("location.hash"), "the instant can be shared"

    driver.drive(f"{room.admin}/#/time?at={at.isoformat().replace('+', '%2B')}&endpoint=hail", steps)


def test_an_instant_before_the_first_record_is_said_to_be_unknown(driver: Driver, room: Showroom) -> None:
    async def steps(tab: Tab) -> None:
        await expect(tab.page.locator(".empty-title").first).to_have_text("Nothing is known of that instant")

    driver.drive(f"{room.admin}/#/time?at=2020-01-01T00:00:00Z", steps, forgiven={422})


def test_what_versions_were_made_of_is_a_graph_that_can_be_heard(driver: Driver, room: Showroom) -> None:
    async def steps(tab: Tab) -> None:
        graph = tab.page.locator("svg.lineage")
        await expect(graph).to_have_attribute("aria-label", SPOKEN)
        assert await graph.locator(".node-differs").count() == 6, "data, commit and settings of both differ"

    driver.drive(f"{room.admin}/#/time?endpoint=rain", steps)
