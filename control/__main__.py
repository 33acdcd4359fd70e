"""`python -m control -c pointsman.yaml --link PATH`: the control process, started by the supervisor."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path

import uvloop

from control import log
from control.log import note
from control.process import Invocation, serve
from domain.errors import ConfigError
from settings.file import load
from settings.schema import Settings

BAD_CONFIGURATION = 2

_log = logging.getLogger("pointsman.control")
NICENESS = 5

SWITCH_INTERVAL = 0.0005
"""Seconds after which a thread of this process (the store's, mostly) lets the loop go on. With Python's own
5 ms every wait of the loop for a socket may cost as much, and a kill waits for several."""


def main(arguments: list[str] | None = None) -> int:
    """Run until told to end; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m control", description=__doc__)
    parser.add_argument("-c", "--config", required=True, type=Path, help="the configuration file")
    parser.add_argument("--link", required=True, help="path of the unix socket that workers connect to")
    parser.add_argument(
        "--workers", type=int, help="how many workers there are, instead of the configured number"
    )
    parser.add_argument("--ready-fd", type=int, help="descriptor that gets one JSON line when all is served")
    parser.add_argument(
        "--fallback", type=Path, help="the configuration as it last was good, for when the file is not"
    )
    parser.add_argument("--kill", action="store_true", help="take every candidate out at once")
    parser.add_argument("--log", default="", help="path of the prediction log's socket")
    given = parser.parse_args(arguments)
    # Clients before judgement: where cores are short, the workers go first.
    os.nice(NICENESS)
    sys.setswitchinterval(SWITCH_INTERVAL)
    log.to_stream()
    try:
        settings = _settings(given.config, given.fallback)
        uvloop.run(serve(settings, _invocation(given)))
    except ConfigError as error:
        print(f"control: {error}", file=sys.stderr)
        return BAD_CONFIGURATION
    return 0


def _invocation(given: argparse.Namespace) -> Invocation:
    return Invocation(given.config, given.link, given.workers, given.ready_fd, given.kill, given.log)


def _settings(config: Path, fallback: Path | None) -> Settings:
    """The configuration, or as it last was good. Raises ConfigError when it never was."""
    try:
        return load(config)
    except ConfigError as error:
        if fallback is None or not fallback.exists():
            raise
        note(_log, logging.ERROR, "configuration refused: the last good one is served", reason=str(error))
        return load(fallback)


if __name__ == "__main__":
    sys.exit(main())
