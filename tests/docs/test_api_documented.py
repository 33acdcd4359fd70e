"""Every route of the admin API stands in docs/admin-api.md, and the other way round."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from tests.support.control import ROOT, here

_ROW = re.compile(r"^\| `(GET|POST|PUT|DELETE) (/\S*)` \|", re.MULTILINE)


def test_every_route_is_documented(tmp_path: Path) -> None:
    async def scenario() -> set[tuple[str, str]]:
        async with here(tmp_path) as control:
            document = (await control.client.get("/openapi.json")).json()
            return {
                (method.upper(), path) for path, methods in document["paths"].items() for method in methods
            }

    served = asyncio.run(scenario())
    assert set(_ROW.findall((ROOT / "docs" / "admin-api.md").read_text())) == served
