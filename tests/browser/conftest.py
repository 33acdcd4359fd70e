"""One browser and one gateway with everything in it for all tests of the console."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import browser
from tests.support.browser import Driver
from tests.support.showroom import Showroom, showroom


@pytest.fixture(scope="session")
def driver() -> Iterator[Driver]:
    """A started chromium; what cannot be had skips the tests that need it."""
    try:
        browser.axe()
        with browser.started() as one:
            yield one
    except browser.MissingError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def room(driver: Driver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Showroom]:
    """A gateway whose stories have been told; `driver` first: without a browser nobody looks at it."""
    with showroom(tmp_path_factory.mktemp("showroom")) as one:
        yield one
