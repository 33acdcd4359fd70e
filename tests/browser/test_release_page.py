"""The page of a release: where it stands, what it waits for, and that people can move it."""

from __future__ import annotations

from typing import Any

from playwright.async_api import Page, expect

from tests.support.browser import Driver, Tab
from tests.support.showroom import Showroom


async def shaped(page: Page, call: str, *values: Any) -> Any:
    """What `call`, a function of a module of the console, makes of `values`: `pages/release/path.js#path`."""
    module, name = call.split("#")
    return await page.evaluate(
        """async ([module, name, values]) => {
            const main = document.querySelector("script[type=module]").src;
            const loaded = await import(main.replace(/main\\.js$/, module));
            return loaded[name](...values);
        }""",
        [module, name, list(values)],
    )


PLAN = [
    {"mode": "shadow", "weight": 0, "pairs": 500, "at_least_seconds": 0},
    {"mode": "canary", "weight": 0.1, "pairs": 500, "at_least_seconds": 3600},
]
STANDING = {
    "stage": 1, "stages": 2, "mode": "canary", "weight": 0.1, "pairs": 120, "pairs_needed": 500, "plan": PLAN,
    "since": "2026-01-01T00:00:00.000000+00:00", "watch_seconds": 86400, "gated": True, "approvals": 2,
}  # fmt: skip


def test_a_path_shows_where_a_release_stands_and_where_it_stopped(driver: Driver, room: Showroom) -> None:
    async def steps(tab: Tab) -> None:
        async def places(release: dict[str, Any] | None) -> list[tuple[str, str]]:
            found = await shaped(tab.page, "pages/release/path.js#path", STANDING, release)
            return [(one["id"], one["place"]) for one in found]

        def release(phase: str, stage: int = 0, *before: str) -> dict[str, Any]:
            return {"phase": phase, "stage": stage, "history": [{"phase": one} for one in (*before, phase)]}

        ids = ["gates", "approvals", "stage-0", "stage-1", "watch", "done"]
        assert await places(release("gating")) == [
            (one, "current" if one == "gates" else "waiting") for one in ids
        ]
        assert await places(release("canary", 1, "shadow")) == list(
            zip(ids, ["done", "done", "done", "current", "waiting", "waiting"], strict=True)
        )
        assert (await places(release("done", 1)))[-1] == ("done", "done")
        assert (await places(release("rolled back", 1, "shadow", "canary")))[3] == ("stage-1", "stopped")
        assert (await places(release("halted", 0)))[0] == ("gates", "stopped")
        again = await places(release("shadow", -1))
        assert [one for one in again if one[1] == "current"] == [("stage--1", "current")]
        assert [one for one in await places(None) if one[1] == "current"] == [("stage-1", "current")]

    driver.drive(room.admin, steps)


def test_what_a_stage_still_needs_is_the_most_that_anything_needs(driver: Driver, room: Showroom) -> None:
    async def steps(tab: Tab) -> None:
        async def needed(*guards: tuple[str, int | None]) -> int | None:
            told = [{"verdict": verdict, "pairs_needed": pairs} for verdict, pairs in guards]
            endpoint = {"release": STANDING, "guards": told}
            found: int | None = await shaped(tab.page, "pages/release/path.js#pairsStillNeeded", endpoint)
            return found

        assert await needed(("pass", 0)) == 380
        assert await needed(("pass", 0), ("inconclusive", 900)) == 900
        assert await needed(("inconclusive", None), ("inconclusive", 9)) is None

    driver.drive(room.admin, steps)


def test_a_release_says_what_it_waits_for_and_rests_on(driver: Driver, room: Showroom) -> None:
    async def steps(tab: Tab) -> None:
        page = tab.page
        await expect(page.locator("[aria-current=step]")).to_contain_text("Canary 10 %")
        await expect(page.get_by_role("region", name="What it waits for")).to_contain_text(
            "more pairs are needed"
        )
        await expect(page.get_by_role("region", name="Gates", exact=True)).to_contain_text(
            "0.912 against 0.909"
        )
        before = await page.locator(".meter-text").first.text_content()
        await expect(page.locator(".meter-text").first).not_to_have_text(before or "")

    driver.drive(f"{room.admin}/#/endpoints/rain/release", steps)


def test_a_rolled_back_release_says_why_and_where_to_go(driver: Driver, room: Showroom) -> None:
    async def steps(tab: Tab) -> None:
        call = tab.page.locator(".call")
        await expect(call).to_contain_text("hail-2 is rolled back")
        await expect(call).to_contain_text("against a limit of 1 %")
        await call.get_by_role("link", name="What was live before?").click()
        await expect(tab.page.locator("h1")).to_have_text("Time machine")

    driver.drive(f"{room.admin}/#/endpoints/hail/release", steps)


def test_two_people_approve_and_one_aborts(driver: Driver, room: Showroom) -> None:
    async def steps(tab: Tab) -> None:
        page = tab.page
        for name in ("ada", "grace"):
            await page.get_by_role("button", name="Approve").click()
            dialog = page.get_by_role("dialog")
            await dialog.get_by_label("What you looked at").fill(f"{name} read <b>all</b> of it")
            await dialog.get_by_label("Your name").fill(name)
            await dialog.get_by_role("button", name="Approve").click()
            await expect(dialog).to_have_count(0)
        await expect(page.locator("[aria-current=step]")).to_contain_text("Shadow")
        await page.get_by_role("button", name="Abort").click()
        await page.get_by_role("dialog").get_by_label("Why").fill("another day")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("region", name="Steps it took")).to_contain_text("another day")
        await expect(page.get_by_role("button", name="Start a release")).to_be_visible()

    driver.drive(f"{room.admin}/#/endpoints/storm/release", steps)
    assert (room.release("storm") or {})["phase"] == "aborted"
