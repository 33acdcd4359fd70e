"""Undocumented means red, and so does documented but gone: docs/metrics.md against what is exposed."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from tests.support.control import ROOT, here

_ROW = re.compile(r"^\| `(pointsman_\w+)` \| (\w+) \|[^|]*\|", re.MULTILINE)


def test_every_metric_is_documented_with_its_type(tmp_path: Path) -> None:
    async def scenario() -> dict[str, str]:
        async with here(tmp_path) as control:
            metrics = control.control.panel.metrics.collect()
            return {one.name + ("_total" if one.type == "counter" else ""): one.type for one in metrics}

    exposed = asyncio.run(scenario())
    rows = _ROW.findall((ROOT / "docs" / "metrics.md").read_text())
    assert dict(rows) == exposed
