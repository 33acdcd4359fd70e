"""A real browser for tests: Debian's chromium, driven by Playwright, and axe-core to look at accessibility.

    python -m tests.support.browser       gets what is missing: chromium by apt, axe-core by npm

What cannot be had skips its tests, with the reason. The browser lives in a thread with a loop of its own: in
the thread of the tests Playwright would leave a loop running, and no other test could start one. It runs
while the tests are set up, and so imports nothing of the project.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from playwright.async_api import (
    Browser,
    ConsoleMessage,
    Page,
    Request,
    Response,
    async_playwright,
    expect,
)

ROOT = Path(__file__).parents[2]
HOME = ROOT / ".axe-core"
AXE = "axe-core@4.11.0"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PATIENCE = 60.0
"""Seconds that something on a page may take to come, on a busy machine."""
LONGEST = 600
GRAVE = frozenset({"serious", "critical"})

T = TypeVar("T")


class MissingError(Exception):
    """Something cannot be had here; the message says what and why."""


def chromium() -> str:
    """Where it is. Raises MissingError."""
    for name in NAMES:
        found = shutil.which(name)
        if found is not None:
            return found
    raise MissingError(f"none of {', '.join(NAMES)} is on the PATH: apt-get install chromium")


def install_chromium() -> None:
    """By apt, as root or by sudo. Raises MissingError."""
    try:
        chromium()
        return
    except MissingError:
        pass  # which is why it is got
    if shutil.which("apt-get") is None:
        raise MissingError("chromium is not installed, and there is no apt-get to install it with")
    before = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if before and shutil.which("sudo") is None:
        raise MissingError("chromium is not installed, and only root can install it")
    _call([*before, "apt-get", "-qq", "update"])
    _call([*before, "apt-get", "-qq", "install", "-y", "--no-install-recommends", "chromium"])
    chromium()


def axe() -> Path:
    """The script of axe-core. Raises MissingError."""
    script = HOME / "node_modules" / "axe-core" / "axe.min.js"
    HOME.mkdir(exist_ok=True)
    with (HOME / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if not (HOME / AXE).exists():
            npm = shutil.which("npm")
            if npm is None:
                raise MissingError(f"npm, which gets {AXE}, is not on the PATH")
            _call(
                [
                    npm, "install", "--prefix", str(HOME), "--ignore-scripts", "--no-audit", "--no-fund",
                    "--loglevel=error", AXE,
                ]
            )  # fmt: skip
            (HOME / AXE).touch()
    return script


def _call(command: list[str]) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=LONGEST, check=False, env=environment
        )
    except (subprocess.TimeoutExpired, OSError) as error:
        raise MissingError(f"{' '.join(command)}: {error}") from error
    if done.returncode:
        raise MissingError(f"{' '.join(command)} failed:\n{(done.stderr or done.stdout)[-2000:]}")


@dataclass
class Watch:
    """All that must not happen on a page, as it happened. `forgiven`: statuses that a test wants."""

    host: str
    wrong: list[str] = field(default_factory=list)
    forgiven: set[int] = field(default_factory=set)

    def over(self, page: Page) -> None:
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.wrong.append(f"uncaught: {error}"))
        page.on("dialog", lambda dialog: self.wrong.append(f"a dialog: {dialog.message}"))
        page.on("request", self._asked)
        page.on("requestfailed", self._failed)
        page.on("response", self._answered)

    def _said(self, message: ConsoleMessage) -> None:
        # What was answered with an error is looked at by itself, and so is what got no answer.
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            self.wrong.append(f"console {message.type}: {message.text}")

    def _asked(self, request: Request) -> None:
        where = urlsplit(request.url)
        if where.scheme not in ("data", "blob") and where.netloc != self.host:
            self.wrong.append(f"a request to another host: {request.url}")

    def _failed(self, request: Request) -> None:
        # Whoever leaves a page breaks off what it was waiting for.
        if 0 not in self.forgiven and "ERR_ABORTED" not in (request.failure or ""):
            self.wrong.append(f"no answer: {request.url}: {request.failure}")

    def _answered(self, response: Response) -> None:
        if response.status >= 400 and response.status not in self.forgiven:
            self.wrong.append(f"answered {response.status}: {response.url}")


class Tab:
    """What a test is given besides the page: what must not happen, and what may."""

    def __init__(self, page: Page, watch: Watch) -> None:
        self.page = page
        self.watch = watch


class Driver:
    """A started browser. `drive` opens a page for some steps, and asserts that nothing went wrong."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="browser", daemon=True)
        self._browser: Browser | None = None
        self._playwright: Any = None
        self._thread.start()

    def start(self, program: str) -> None:
        """Raises MissingError."""
        self.run(self._start(program))

    async def _start(self, program: str) -> None:
        expect.set_options(timeout=PATIENCE * 1000)
        self._playwright = await async_playwright().start()
        self._browser = await self._playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-gpu"], timeout=PATIENCE * 1000
        )

    def stop(self) -> None:
        self.run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _stop(self) -> None:
        if self._browser is not None:
            await self._browser.close()
        if self._playwright is not None:
            await self._playwright.stop()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do `work` in the browser's loop, from the thread of a test."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def drive(
        self,
        url: str,
        steps: Callable[[Tab], Awaitable[None]],
        *,
        width: int = 1280,
        height: int = 900,
        dark: bool = False,
        forgiven: set[int] | None = None,
        **context: Any,
    ) -> None:
        """Open `url` in a window of its own, take `steps`, and assert that nothing went wrong meanwhile.

        `forgiven`: statuses that may be answered; 0: requests may have no answer.
        """
        self.run(self._drive(url, steps, width, height, dark, forgiven or set(), context))

    async def _drive(
        self,
        url: str,
        steps: Callable[[Tab], Awaitable[None]],
        width: int,
        height: int,
        dark: bool,
        forgiven: set[int],
        more: dict[str, Any],
    ) -> None:
        assert self._browser is not None
        context = await self._browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce",
            locale="en-GB",
            timezone_id="UTC",
            **more,
        )
        context.set_default_timeout(PATIENCE * 1000)
        try:
            page = await context.new_page()
            watch = Watch(urlsplit(url).netloc, forgiven=forgiven)
            watch.over(page)
            await page.add_init_script(
                "addEventListener('securitypolicyviolation', one => "
                "console.error('policy: ' + one.violatedDirective + ' ' + one.blockedURI))"
            )
            await page.goto(url)
            await steps(Tab(page, watch))
            assert not watch.wrong, "\n".join(watch.wrong)
        finally:
            await context.close()


async def grave_findings(page: Page) -> list[str]:
    """What axe-core finds serious or critical on the page as it is. Raises MissingError.

    The script is run by the debugger's own means, which the page's policy has no say in.
    """
    await page.evaluate(axe().read_text(encoding="utf-8"))
    found = await page.evaluate("() => axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{one['id']} ({one['impact']}): {one['help']}: "
        + "; ".join(f"{node['html'][:160]} {node['failureSummary'][:200]}" for node in one["nodes"][:3])
        for one in found["violations"]
        if one["impact"] in GRAVE
    ]


@contextmanager
def started() -> Iterator[Driver]:
    """A browser. Raises MissingError."""
    program = chromium()
    driver = Driver()
    try:
        driver.start(program)
        yield driver
    finally:
        driver.stop()


def main() -> int:
    missing = []
    for get in (install_chromium, axe):
        try:
            get()
        except MissingError as error:
            missing.append(str(error))
    for one in missing:
        print(f"tests in a browser are skipped: {one}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
