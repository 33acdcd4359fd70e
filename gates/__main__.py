"""`python -m gates -c FILE ENDPOINT`: executes gates, prints one JSON document, ends with their code.

The control process executes gates so: what they import and compute (scikit-learn, a bootstrap, load) must not
stand in the way of judging pairs and of trips. It holds the other end of standard input (`--bound`), so that
nothing is left when it is killed. Errors are a JSON document too, with the code of an ERROR.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from pathlib import Path

import orjson

from domain.errors import ConfigError, GateError
from domain.verdict import Verdict
from gates.execution import execute
from gates.result import CODES, report, worst


def main() -> int:
    parser = argparse.ArgumentParser(prog="gates", description="Execute the promotion gates of an endpoint.")
    parser.add_argument("-c", "--config", type=Path, required=True)
    parser.add_argument("--bound", action="store_true", help="end when standard input does")
    parser.add_argument("--incumbent", help="the registry's version, where one is followed")
    parser.add_argument("--candidate", help="the registry's version, where one is followed")
    parser.add_argument("endpoint")
    arguments = parser.parse_args()
    if arguments.bound:
        # A shell's background processes, and all that they start, ignore it otherwise.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        threading.Thread(target=_end_with_input, name="parent", daemon=True).start()
    try:
        followed = None
        if arguments.candidate is not None:
            followed = arguments.incumbent or "", arguments.candidate
        results = execute(arguments.config, arguments.endpoint, followed=followed)
    except (ConfigError, GateError) as error:
        document = {"endpoint": arguments.endpoint, "verdict": Verdict.ERROR.value, "detail": str(error)}
        verdict = Verdict.ERROR
    else:
        document, verdict = report(arguments.endpoint, results), worst(results)
    sys.stdout.buffer.write(orjson.dumps(document) + b"\n")
    return CODES[verdict]


def _end_with_input() -> None:
    """As Ctrl-C does, so that what the gates have started is ended too."""
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGINT)


if __name__ == "__main__":
    sys.exit(main())
