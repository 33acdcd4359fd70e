"""Requests through every change that a gateway lives through: none failed, none got another's answer.

The same scenarios with 100 000 requests each: `python -m bench --only change`.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bench.change import CHANGES, measured

REQUESTS = 5_000


@pytest.mark.parametrize("name", CHANGES)
def test_no_request_fails_and_none_is_mispaired_through(name: str, tmp_path: Path) -> None:
    outcome = asyncio.run(asyncio.wait_for(measured(tmp_path, CHANGES[name], REQUESTS), 110))
    assert outcome.requests >= REQUESTS
    assert outcome.changes >= 1
    assert (dict(outcome.failed), outcome.mispaired) == ({}, 0)
    assert outcome.arms["candidate"] > 0 < outcome.arms["incumbent"], "both arms served"
