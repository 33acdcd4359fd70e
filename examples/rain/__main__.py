"""`python -m examples.rain [--once] [--json]`: the demo. Exits 0 after a trip without a failed request."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import orjson
import uvloop

from examples.rain.demo import Demo, Options
from examples.rain.processes import DemoError
from examples.rain.report import Report
from examples.rain.timeline import Timeline

TRIPPED, NOT_TRIPPED, CANNOT_RUN, INTERRUPTED = 0, 1, 2, 130


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="pointsman demo", description="A candidate goes bad, the switch trips."
    )
    parser.add_argument("--once", action="store_true", help="end after the timeline, with free ports")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout, the story on stderr")
    parser.add_argument(
        "--rate", type=_between(1, 5000), default=250.0, help="requests a second (default 250)"
    )
    parser.add_argument(
        "--users", type=_between(100, 10_000_000), default=20_000, help="how many ask (default 20000)"
    )
    parser.add_argument("--workers", type=_between(1, 128), default=1, help="gateway workers (default 1)")
    parser.add_argument("--keep", action="store_true", help="keep the temporary folder and say where it is")
    arguments = parser.parse_args()
    options = Options(arguments.once, arguments.rate, int(arguments.users), int(arguments.workers))
    report = Report(sys.stderr if arguments.json else sys.stdout)
    folder = Path(tempfile.mkdtemp(prefix="pointsman-demo-"))
    try:
        return uvloop.run(_run(Demo(options, folder, report), report, as_json=arguments.json))
    except DemoError as error:
        sys.stderr.write(f"demo: {error}\n")
        return CANNOT_RUN
    except (KeyboardInterrupt, asyncio.CancelledError):
        return INTERRUPTED
    finally:
        if arguments.keep:
            sys.stderr.write(f"demo: files are in {folder}\n")
        else:
            shutil.rmtree(folder, ignore_errors=True)


async def _run(demo: Demo, report: Report, *, as_json: bool) -> int:
    told: list[Timeline] = []

    def tell(timeline: Timeline) -> None:
        told.append(timeline)
        report.timeline(timeline)
        if as_json:
            sys.stdout.write(orjson.dumps(timeline.document()).decode() + "\n")
            sys.stdout.flush()

    this = asyncio.current_task()
    if this is not None:
        for number in (signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, this.cancel)
    with report:
        try:
            await demo.run(tell)
        except asyncio.CancelledError:
            if not told:
                raise
            # Ctrl-C after the timeline is how a demo without --once ends.
    return TRIPPED if told and told[0].succeeded else NOT_TRIPPED


def _between(low: float, high: float) -> Callable[[str], float]:
    def number(text: str) -> float:
        value = float(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text} is not between {low:g} and {high:g}")
        return value

    return number


if __name__ == "__main__":
    sys.exit(main())
