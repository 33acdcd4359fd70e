"""Every relative link in the documentation leads somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HIDDEN = {
    ".venv", ".venv-bench", ".venv-servers", ".unleash-server", ".prometheus", ".git", "var", "node_modules",
    ".pytest_cache",
}  # fmt: skip
PAGES = sorted(
    page.relative_to(ROOT) for page in ROOT.rglob("*.md") if not HIDDEN & set(page.relative_to(ROOT).parts)
)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_relative_links_resolve(page: Path) -> None:
    targets = LINK.findall(FENCE.sub("", (ROOT / page).read_text()))
    relative = [target for target in targets if not re.match(r"[a-z]+:", target)]
    assert [target for target in relative if not _leads_somewhere(page, target)] == []


def _leads_somewhere(page: Path, target: str) -> bool:
    path, _, anchor = target.partition("#")
    found = (ROOT / page).parent / path if path else ROOT / page
    return found.exists() and (not anchor or anchor in _anchors(found))


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ +(.+?) *$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
