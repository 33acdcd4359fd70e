"""Overview, endpoint and pairs: what an operator sees and presses, against a live gateway."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.async_api import expect

from tests.support.browser import Driver, Tab, grave_findings
from tests.support.showroom import Showroom

PAGES = {
    "": "Endpoints",
    "#/endpoints/rain": "rain",
    "#/endpoints/hail": "hail",
    "#/endpoints/fog": "fog",
    "#/endpoints/hail/pairs": "Pairs",
}
UNTOUCHED = "window.untouched === true"


@pytest.fixture
def words(room: Showroom) -> Iterator[Showroom]:
    """The endpoint `words` with its candidate armed, before and after."""
    arm(room)
    yield room
    arm(room)


def arm(room: Showroom) -> None:
    if room.endpoint("words")["switch"]["tripped"]:
        room.post("/api/v1/endpoints/words/rearm", {"reason": "for the next test"})


async def later(work: Any, *arguments: Any) -> Any:
    """`work` in a thread: the loop is the browser's."""
    return await asyncio.to_thread(work, *arguments)


@pytest.mark.parametrize("where", PAGES)
def test_a_page_is_there_for_everybody_in_light_and_dark_wide_and_narrow(
    driver: Driver, room: Showroom, where: str
) -> None:
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


def test_what_needs_somebody_comes_first_and_says_why(driver: Driver, room: Showroom) -> None:
    async def steps(tab: Tab) -> None:
        rows = tab.page.locator(".entry")
        await expect(rows).to_have_count(5)
        hail = tab.page.locator(".entry", has_text="hail-1")
        await expect(hail).to_contain_text("tripped")
        await expect(hail).to_contain_text(re.compile(r"Out since .* by the flips guard: flips"))
        names = await tab.page.locator(".entry-name a").all_inner_texts()
        assert names.index("hail") < names.index("rain") < names.index("fog")
        await tab.page.keyboard.press("/")
        await tab.page.keyboard.type("storm")
        await expect(rows).to_have_count(1)
        await tab.page.keyboard.type("s and nothing else")
        await expect(tab.page.locator(".empty")).to_contain_text("No endpoint is like")

    driver.drive(f"{room.admin}/", steps)


def test_a_sentence_says_what_is_live_what_tripped_when_and_why(driver: Driver, room: Showroom) -> None:
    async def steps(tab: Tab) -> None:
        said = tab.page.locator(".standing-sentence")
        await expect(said).to_have_text(
            re.compile(
                r"hail-1 serves everybody\. The candidate hail-2 was taken out at \d\d:\d\d:\d\d by the "
                r"flips guard: [\d.]+ % of predictions flipped against a limit of 1 % "
                r"\(by chance 1 in [\d,]+, after \d+ votes"
            )
        )
        trip = room.endpoint("hail")["last_trip"]
        await expect(said.locator("time").first).to_have_attribute(
            "datetime", re.compile(re.escape(trip["breach_at"][:22]))
        )
        await expect(tab.page.locator(".points svg")).to_have_attribute(
            "aria-label", re.compile("hail-2: out: nobody, no mirrors")
        )

    driver.drive(f"{room.admin}/#/endpoints/hail", steps)


def test_a_guards_curve_crosses_its_threshold_and_can_be_read_by_keys(driver: Driver, room: Showroom) -> None:
    async def steps(tab: Tab) -> None:
        curve = tab.page.get_by_role("img", name=re.compile("^Evidence, now: evidence 1 in [1-9]"))
        await expect(curve).to_have_attribute("aria-label", re.compile("trips at 1 in 1,000"))
        line = curve.locator(".stroke-evidence")
        limit = float(
            re.findall(r" ([\d.]+)H", await curve.locator(".threshold").get_attribute("d") or "")[0]
        )
        heights = [
            float(one) for one in re.findall(r"[ML][\d.]+ ([\d.]+)", await line.get_attribute("d") or "")
        ]
        assert min(heights) <= limit < max(heights), "it was below, and is above"
        await curve.focus()
        await tab.page.keyboard.press("Home")
        await expect(tab.page.get_by_role("img", name=re.compile("^Evidence, at "))).to_be_visible()
        await tab.page.keyboard.press("Escape")
        await expect(curve).to_be_visible()

    driver.drive(f"{room.admin}/#/endpoints/hail", steps)


def test_a_trip_appears_without_a_reload_and_is_said(driver: Driver, words: Showroom) -> None:
    async def steps(tab: Tab) -> None:
        page = tab.page
        row = page.locator(".entry", has_text="words-1")
        await expect(row).to_contain_text("on trial")
        await page.evaluate("window.untouched = true")
        await later(words.post, "/api/v1/endpoints/words/kill", {"reason": "somebody else saw it"})
        await expect(row).to_contain_text("tripped")
        await expect(row).to_contain_text("somebody else saw it")
        await expect(page.locator("[aria-live=assertive]")).to_contain_text("words: the candidate words-2")
        assert await page.evaluate(UNTOUCHED)

    driver.drive(f"{words.admin}/", steps)


def test_a_candidate_is_killed_and_armed_again_by_keys_alone_and_the_workers_obey(
    driver: Driver, words: Showroom
) -> None:
    asked: list[str] = []
    answer = words.models.answer

    def noted(version: str, body: bytes) -> dict[str, Any]:
        asked.append(version)
        return answer(version, body)

    words.models.answer = noted  # type: ignore[method-assign]

    def several_of_the_incumbent() -> bool:
        return asked.count("words-1") >= 3

    async def steps(tab: Tab) -> None:
        page = tab.page
        await expect(page.locator(".standing")).to_contain_text("shadow")
        await page.keyboard.press("k")
        await expect(page.get_by_role("dialog")).to_contain_text("Take words-2 out of words?")
        await page.keyboard.press("Enter")  # no reason, no kill
        await expect(page.get_by_role("dialog")).to_be_visible()
        await page.keyboard.type("the on-call person does not like it")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("dialog")).to_have_count(0)
        await expect(page.locator(".notice-grave", has_text="words-2 is out.")).to_be_visible()
        asked.clear()
        await later(words.until, several_of_the_incumbent, "requests after the kill")
        assert "words-2" not in asked
        await expect(page.locator(".standing")).to_contain_text("the on-call person does not like it")
        (kill,) = (await later(words.endpoint, "words"))["switch"]["kills"]
        await page.keyboard.press("r")
        await expect(page.get_by_role("dialog")).to_contain_text(kill["id"])
        await page.keyboard.type("it was the wrong one")
        await page.keyboard.press("Enter")
        await expect(page.locator(".standing")).to_contain_text("shadow")
        await later(words.until, lambda: "words-2" in asked, "the candidate to be asked again")

    try:
        driver.drive(f"{words.admin}/#/endpoints/words", steps)
    finally:
        words.models.answer = answer  # type: ignore[method-assign]


def test_a_lost_connection_is_said_and_found_again_without_a_reload(driver: Driver, room: Showroom) -> None:
    async def steps(tab: Tab) -> None:
        page = tab.page
        await expect(page.locator(".entry").first).to_be_visible()
        await page.evaluate("window.untouched = true")
        await page.context.set_offline(True)
        await expect(page.locator(".banner")).to_contain_text("Connection lost")
        await expect(page.locator(".entry").first).to_be_visible()
        await expect(page.locator("body")).to_have_attribute("data-stale", "")
        await page.context.set_offline(False)
        await expect(page.locator(".banner")).to_be_hidden()
        await expect(page.locator("body")).not_to_have_attribute("data-stale", "")
        assert await page.evaluate(UNTOUCHED)
        tab.watch.wrong = [one for one in tab.watch.wrong if "ERR_INTERNET_DISCONNECTED" not in one]

    driver.drive(f"{room.admin}/", steps, forgiven={0})


def test_what_differs_in_a_pair_is_marked_on_both_sides(driver: Driver, room: Showroom) -> None:
    (worst, *_) = room.get("/api/v1/endpoints/hail/pairs?worst=1")["pairs"]

    async def steps(tab: Tab) -> None:
        first = tab.page.locator(".pair").first
        await expect(first).to_contain_text(worst["request_id"])
        for arm in ("incumbent", "candidate"):
            marks = first.locator(f".side-{arm} mark")
            await expect(marks).to_have_count(len(worst["diff"]))
            await expect(marks.first).to_have_text(f'"{worst["diff"][0][arm]}"')
        await tab.page.get_by_role("button", name="Latest").click()
        await expect(tab.page).to_have_url(re.compile("order=latest"))
        await tab.page.get_by_label("flips only").check()
        await expect(
            tab.page.locator(".pair", has=tab.page.locator(".badge", has_text="same"))
        ).to_have_count(0)

    driver.drive(f"{room.admin}/#/endpoints/hail/pairs", steps)


def test_pairs_are_filtered_by_cohort_and_copied_as_a_command(driver: Driver, room: Showroom) -> None:
    async def steps(tab: Tab) -> None:
        page = tab.page
        of = page.get_by_label("Of")
        await of.select_option("DE")
        await expect(page.locator(".pair", has_text="US")).to_have_count(0)
        await expect(page.locator(".pair").first).to_contain_text("DE")
        await page.get_by_role("button", name="Copy as curl").first.click()
        await expect(page.locator(".notice").first).to_contain_text("Copied")
        copied = await page.evaluate("navigator.clipboard.readText()")
        assert copied.startswith("curl -sS \"$GATEWAY\"'/predict/rain'")

    driver.drive(
        f"{room.admin}/#/endpoints/rain/pairs", steps,
        permissions=["clipboard-read", "clipboard-write"], forgiven={404},
    )  # fmt: skip


WORDS = """async () => {
  const home = document.querySelector('script[type=module]').src.replace(/main\\.js$/, '');
  const numbers = await import(home + 'words/numbers.js');
  const { quoted } = await import(home + 'words/curl.js');
  const { ticks, placeOf } = await import(home + 'charts/scale.js');
  const { element, plain } = await import(home + 'page/element.js');
  const { morph } = await import(home + 'page/morph.js');
  const { found, address } = await import(home + 'page/router.js');
  const refused = (make) => { try { make(); return false; } catch { return true; } };
  const entry = (key, end) => element('li', { key }, element('input', {}), key + end);
  const list = (keys, end) => element('ul', {}, keys.map((key) => entry(key, end)));
  const live = list(['a', 'b', 'c'], '');
  document.body.append(live);
  const input = live.children[2].firstChild;
  input.value = 'typed'; input.focus();
  morph(live, list(['c', 'a', 'd'], '!'));
  return {
    percents: [0, 0.00001, 0.0032, 0.0123, 0.1, 0.261, 0.99999, 1, null, -0.03].map(numbers.percent),
    latencies: [0.00027, 0.0123, 0.25, 2.5, null].map(numbers.latency),
    chances: [0, 1.5, 1614, 12345678, 1e300].map(numbers.oneIn),
    quoted: quoted("it's $HOME `id`"),
    ticks: ticks(0, 0.27, 3),
    places: [placeOf([1, 2, 3], 2.5), placeOf([1, 2, 3], 0)],
    refused: [
      () => element('a', { href: 'javascript:alert(1)' }),
      () => element('a', { href: 'https://elsewhere.example/' }),
      () => element('a', { href: '//elsewhere.example' }),
      () => element('img', { onerror: 'alert(1)' }),
      () => element('p', { style: 'color: red' }),
    ].map(refused),
    plain: plain('a\\u202eb\\u001b[31m'),
    order: [...live.children].map((one) => one.textContent),
    kept: [document.activeElement === input, live.children[0].firstChild === input, input.value],
    routed: found(
      [{ pattern: '/endpoints/:endpoint/pairs' }], address('endpoints', 'a/b ?', 'pairs', { by: 'x&y' }),
    ),
  };
}"""


def test_the_parts_that_all_pages_are_made_of(driver: Driver, room: Showroom) -> None:
    async def steps(tab: Tab) -> None:
        await expect(tab.page.locator(".entry").first).to_be_visible()
        found = await tab.page.evaluate(WORDS)
        assert found["percents"] == [
            "0 %", "< 0.01 %", "0.32 %", "1.2 %", "10 %", "26.1 %", "100 %", "100 %", "–", "-3 %",
        ]  # fmt: skip
        assert found["latencies"] == ["0.27 ms", "12 ms", "250 ms", "2.5 s", "–"]
        assert found["chances"] == ["none", "none", "1 in 1,600", "1 in 1.2 × 10⁷", "1 in 1 × 10³⁰⁰"]
        assert found["quoted"] == "'it'\\''s $HOME `id`'"
        assert found["ticks"] == pytest.approx([0, 0.1, 0.2])
        assert found["places"] == [1, -1]
        assert found["refused"] == [True] * 5
        assert found["plain"] == "a⟨202E⟩b⟨001B⟩[31m"
        assert found["order"] == ["c!", "a!", "d!"]
        assert found["kept"] == [True, True, "typed"]
        assert found["routed"]["parameters"] == {"endpoint": "a/b ?"}
        assert found["routed"]["query"] == {"by": "x&y"}

    driver.drive(f"{room.admin}/", steps)
