"""`python -m gateway -c pointsman.yaml [--workers N]`: run a gateway in the foreground."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from domain.errors import ConfigError
from gateway.supervisor import check_succession, supervise


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m gateway", description=__doc__)
    parser.add_argument("-c", "--config", type=Path, required=True, help="the configuration file")
    parser.add_argument("--workers", type=_positive, help="gateway workers; overrides the configuration")
    parser.add_argument(
        "--succeeds",
        metavar="ADDRESS",
        help="only check whether this program could take over there",
    )
    parser.add_argument(
        "--held", action="store_true", help="end when standard input ends: whoever started this one is gone"
    )
    arguments = parser.parse_args()
    try:
        if arguments.succeeds is not None:
            check_succession(arguments.config, arguments.succeeds)
        else:
            asyncio.run(supervise(arguments.config, arguments.workers, held=arguments.held))
    except ConfigError as error:
        sys.stderr.write(f"{arguments.config}: {error}\n")
        return 1
    return 0


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


if __name__ == "__main__":
    sys.exit(main())
