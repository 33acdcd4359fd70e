"""The gates of one endpoint of a configuration file, executed here: for the command line and for CI.

It takes no gateway: the file names the servers, and whatever the gates need is read from it.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path

from domain.errors import ConfigError
from gates import runner
from gates.result import GateResult
from settings.file import load


def execute(
    path: Path, name: str, begun: Callable[[str], None] = lambda gate: None
) -> tuple[GateResult, ...]:
    """The results of the endpoint `name` in the file at `path`; `begun` hears each gate's name before it.

    Raises ConfigError when the file is refused or has no such endpoint, and GateError when there is nothing
    to execute.
    """
    settings = load(path)
    try:
        endpoint = settings.endpoint(name)
    except KeyError:
        known = ", ".join(one.name for one in settings.endpoints)
        raise ConfigError("endpoints", name, f"the file at {path} has {known}") from None
    lineage = runner.registered(settings, os.environ)
    return asyncio.run(runner.run(settings, endpoint, time.time, lineage, begun))
