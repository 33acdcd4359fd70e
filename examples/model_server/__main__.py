"""`python -m examples.model_server --model PATH --pipeline PATH --name rain --version rain-1 --port 9001`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import stat
import sys
import threading
from pathlib import Path

import joblib
import uvloop

from examples.model_server.app import ModelServer
from examples.model_server.pipeline import PipelineError, PipelineFile


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="examples.model_server", description="Serve one scikit-learn classifier over V2."
    )
    parser.add_argument("--model", type=Path, required=True, help="a joblib file; loading runs its code")
    parser.add_argument("--pipeline", type=Path, required=True, help="the feature pipeline (JSON), watched")
    parser.add_argument("--name", required=True, help="the model's name in V2's paths")
    parser.add_argument("--version", default="1", help="the model's version in V2's answers")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    try:
        server = load(arguments.model, arguments.pipeline, arguments.name, arguments.version)
        uvloop.run(_serve(server, arguments.host, arguments.port))
    except (OSError, PipelineError) as error:
        sys.stderr.write(f"cannot serve: {error}\n")
        return 2
    return 0


def load(model: Path, pipeline: Path, name: str, version: str) -> ModelServer:
    """Raises OSError or PipelineError when a file cannot be used."""
    server = ModelServer(joblib.load(model), PipelineFile(pipeline), name, version)
    server.warm()
    return server


async def _serve(server: ModelServer, host: str, port: int) -> None:
    """Until SIGTERM, SIGINT, or the end of a pipe on stdin: it is held by whoever started us."""
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, over.set)
    if stat.S_ISFIFO(os.fstat(0).st_mode):
        threading.Thread(target=_await_end_of_input, args=(loop, over), name="parent", daemon=True).start()
    async with server.listening(host, port):
        await over.wait()


def _await_end_of_input(loop: asyncio.AbstractEventLoop, over: asyncio.Event) -> None:
    while os.read(0, 4096):
        pass
    if not loop.is_closed():
        loop.call_soon_threadsafe(over.set)


if __name__ == "__main__":
    sys.exit(main())
