"""Marks the steps of a kill in the gateway's own processes, which know nothing of it.

`bench.fanout` puts this folder on PYTHONPATH; Python imports `sitecustomize` when a process starts. It wraps
a few functions as their modules are imported, so the product holds no code for benchmarks. A mark is one line
in the file that POINTSMAN_TRACE names: step, process, CLOCK_MONOTONIC (one clock for all processes of a
machine), CPU time of the thread and of the process, all in nanoseconds. Only kills leave marks.
"""

from __future__ import annotations

import functools
import importlib.abc
import importlib.machinery
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

Test = Callable[..., bool]


def _always(*_: Any, **__: Any) -> bool:
    return True


def _tripped(_: object, message: Any) -> bool:
    if type(message).__name__ == "TakenOut":
        return True
    snapshot = getattr(message, "snapshot", message)
    return any(one.tripped for one in getattr(snapshot, "endpoints", ()))


def _kills(_: object, name: str, news: Any) -> bool:
    return bool(news.kills)


STEPS: Mapping[str, Sequence[tuple[str, str, str, str, Test]]] = {
    # module: (class, method, mark before, mark after, whether)
    "control.switchboard": (("Switchboard", "trip", "killed", "", _always),),
    "control.newsdesk": (("NewsDesk", "hear", "heard", "", _kills),),
    "control.fleet": (("Fleet", "ring", "ringing", "rung", _kills),),
    "control.link": (
        ("Link", "take_out", "out", "written", _always),
        ("Link", "publish", "built", "published", _tripped),
    ),
    "killswitch.stores.redis": (("RedisStore", "push", "telling", "told", _kills),),
    "shadow.link": (("Link", "_act", "received", "applied", _tripped),),
}


def _mark(step: str) -> None:
    line = (
        f"{step} {os.getpid()} {time.monotonic_ns()} {time.thread_time_ns()} {time.process_time_ns()} "
        f"{time.time_ns()}\n"
    )
    os.write(_out, line.encode())


def _wrapped(function: Callable[..., Any], before: str, after: str, test: Test) -> Callable[..., Any]:
    if function.__code__.co_flags & 0x80:  # a coroutine function

        @functools.wraps(function)
        async def traced(*given: Any, **named: Any) -> Any:
            marks = test(*given, **named)
            if marks:
                _mark(before)
            answer = await function(*given, **named)
            if marks:
                _mark(after)
            return answer

        return traced

    @functools.wraps(function)
    def called(*given: Any, **named: Any) -> Any:
        marks = test(*given, **named)
        if marks:
            _mark(before)
        answer = function(*given, **named)
        if marks and after:
            _mark(after)
        return answer

    return called


class _Tracer(importlib.abc.MetaPathFinder):
    """Lets the usual finders find a module, and wraps what STEPS names when it was executed."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name not in STEPS:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            loader: Any = spec.loader
            execute = loader.exec_module

            def exec_module(module: ModuleType) -> None:
                execute(module)
                for kind, method, before, after, test in STEPS[name]:
                    owner = getattr(module, kind)
                    setattr(owner, method, _wrapped(getattr(owner, method), before, after, test))

            loader.exec_module = exec_module
        return spec


if "POINTSMAN_TRACE" in os.environ:
    _out = os.open(os.environ["POINTSMAN_TRACE"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.set_inheritable(_out, False)
    sys.meta_path.insert(0, _Tracer())
