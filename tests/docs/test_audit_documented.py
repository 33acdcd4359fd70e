"""Every promise of docs/audit.md names a test that is there, and every recorded action stands in it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from audit.event import ACCESS_ACTIONS, Event

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "audit.md").read_text()
PROMISES = PAGE.split("## What is promised", 1)[1]
ROWS = [line for line in PROMISES.splitlines() if line.startswith("| ") and "shown by" not in line]
WITNESSES = sorted(set(re.findall(r"`(test_\w+\.py)::(test_\w+)`", PROMISES)))
RECORDED = re.compile(r'(?:\.event\(\s*|Event\(\s*|observe\(\s*|changes\(\s*)"([a-z]+\.[a-z]+)"')


@pytest.mark.parametrize(("name", "test"), WITNESSES)
def test_a_witness_of_a_promise_is_there(name: str, test: str) -> None:
    files = list((ROOT / "tests").rglob(name))
    assert len(files) == 1
    assert f"\ndef {test}(" in files[0].read_text()


def test_each_promise_has_a_witness() -> None:
    assert len(ROWS) >= 15
    assert [row for row in ROWS if "::" not in row] == []


def test_each_action_that_is_recorded_is_documented() -> None:
    found = {
        action
        for folder in ("audit", "control")
        for path in (ROOT / folder).rglob("*.py")
        for action in RECORDED.findall(path.read_text())
    }
    assert len(found) >= 10
    told = {
        one for one in found if f"`{one}`" in PAGE or (one.startswith("refused.") and "`refused." in PAGE)
    }
    assert found - told == set()


@pytest.mark.parametrize("prefix", ACCESS_ACTIONS)
def test_each_class_of_access_records_is_documented(prefix: str) -> None:
    assert f"`{prefix}…`" in PAGE
    assert Event(f"{prefix}done", "request", "", 0).retention == "access"
