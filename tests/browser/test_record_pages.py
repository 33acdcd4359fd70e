"""Audit, drills, monitoring and single decisions: what is kept is found, and shown as it is."""

from __future__ import annotations

from playwright.async_api import expect

from tests.support.browser import Driver, Tab
from tests.support.showroom import Showroom


def test_the_chain_is_searched_and_verified(driver: Driver, room: Showroom) -> None:
    async def steps(tab: Tab) -> None:
        page = tab.page
        await expect(page.get_by_role("search")).to_be_visible()
        await page.keyboard.press("/")
        await page.keyboard.type("guard:flips")
        await page.keyboard.press("Enter")
        records = page.locator(".record")
        await expect(records.filter(has_text="hail: hail-2 was taken out")).to_have_count(1)
        await expect(records.filter(has_text="is served")).to_have_count(0)
        trip = records.filter(has_text="hail: hail-2 was taken out")
        await trip.locator("summary").first.click()
        await expect(trip.locator(".record-body")).to_contain_text("switch.tripped")
        await page.get_by_role("button", name="Verify the chain").click()
        await expect(page.locator(".call-good, .call-wait")).to_contain_text("as they were written")
        await page.get_by_role("button", name="Everything").click()
        await expect(records.filter(has_text="gateway started")).to_have_count(1)

    driver.drive(f"{room.admin}/#/audit", steps)


def test_a_search_without_result_says_how_to_ask_for_more(driver: Driver, room: Showroom) -> None:
    async def steps(tab: Tab) -> None:
        await expect(tab.page.locator(".empty")).to_contain_text("No record matches")

    driver.drive(f"{room.admin}/#/audit?text=nobody-ever-wrote-this", steps)


def test_a_drill_is_run_from_the_page_and_reported(driver: Driver, room: Showroom) -> None:
    async def steps(tab: Tab) -> None:
        page = tab.page
        drills = page.get_by_role("region", name="Drills, the newest first")
        await expect(drills.locator("tbody tr")).to_have_count(before)
        await page.get_by_role("button", name="Run a drill on rain").click()
        await page.get_by_role("dialog").get_by_role("button", name="Run the drill").click()
        await expect(drills.locator("tbody tr")).to_have_count(before + 1)
        report = page.get_by_role("region", name="Report")
        await expect(report).to_contain_text("last bad answer")
        await expect(report.locator(".badge").first).to_have_text("passed")

    before = len(room.get("/api/v1/drills")["drills"])
    driver.drive(f"{room.admin}/#/drills", steps)


def test_a_fault_that_nobody_could_see_is_refused_with_the_way_out(driver: Driver, room: Showroom) -> None:
    async def steps(tab: Tab) -> None:
        page = tab.page
        await page.get_by_role("button", name="Run a drill on words").click()
        dialog = page.get_by_role("dialog")
        await dialog.get_by_label("Fault").fill("flip")
        await dialog.get_by_role("button", name="Run the drill").click()
        await expect(dialog.get_by_role("alert")).not_to_be_empty()
        await page.keyboard.press("Escape")
        await expect(dialog).to_have_count(0)

    driver.drive(f"{room.admin}/#/drills", steps, forgiven={409, 422})


def test_drift_is_shown_by_feature_and_accuracy_by_cohort(driver: Driver, room: Showroom) -> None:
    async def steps(tab: Tab) -> None:
        page = tab.page
        columns = page.get_by_role("region", name="Columns", exact=True)
        await expect(columns.get_by_role("button", name="humidity")).to_be_visible()
        await columns.get_by_role("button", name="humidity").click()
        await expect(columns.locator(".cell-list li").first).to_be_visible()
        await expect(page.get_by_role("region", name="Accuracy by cohort")).to_contain_text("everybody")
        cohorts = page.get_by_role("region", name="Figures by version and cohort")
        await expect(cohorts).to_contain_text("header:x-country=<b>NZ</b>")

    driver.drive(f"{room.admin}/#/endpoints/rain/monitoring", steps)


def test_a_decision_is_told_from_its_request_id(driver: Driver, room: Showroom) -> None:
    (pair,) = room.get("/api/v1/endpoints/rain/pairs?latest=1")["pairs"]

    async def steps(tab: Tab) -> None:
        page = tab.page
        await page.get_by_label("Request id").fill(pair["request_id"])
        await page.keyboard.press("Enter")
        await expect(page.locator(".call").first).to_contain_text(pair["incumbent"]["version"].split("-")[0])
        await expect(page.get_by_role("region", name="Features")).to_contain_text("humidity")
        await expect(page.locator("svg.lineage")).to_be_visible()
        await page.get_by_label("Request id").fill("nobody-knows-it")
        await page.keyboard.press("Enter")
        await expect(page.locator(".empty")).to_contain_text("nobody here has seen this id")

    driver.drive(f"{room.admin}/#/why", steps, forgiven={404})


def test_a_diagnosis_says_what_was_recorded_around_a_trip(driver: Driver, room: Showroom) -> None:
    async def steps(tab: Tab) -> None:
        await expect(tab.page.get_by_role("region", name="Changes")).to_contain_text("canary at 50 %")

    driver.drive(f"{room.admin}/#/endpoints/hail/diagnosis", steps)
