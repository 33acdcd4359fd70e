"""Progress of long work: on standard error, and only where somebody looks at it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from console.text import visible

Item = TypeVar("Item")

STEP = 1000
"""Records between two words about how many there were."""


@contextmanager
def working(what: str) -> Iterator[Callable[[str], None]]:
    """Shows `what` and for how long, until the end of the block, or what is told meanwhile in its place."""
    console = Console(stderr=True)
    shown = Progress(
        SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn(),
        console=console, transient=True, disable=not (sys.stderr.isatty() and not console.is_dumb_terminal),
    )  # fmt: skip
    with shown:
        task = shown.add_task(visible(what), total=None)
        yield lambda text: shown.update(task, description=visible(text))


def counted(items: Iterable[Item], tell: Callable[[str], None], noun: str) -> Iterator[Item]:
    """`items` as they are; every STEP of them `tell` hears how many there were."""
    for count, item in enumerate(items, 1):
        if count % STEP == 0:
            tell(f"{count} {noun}")
        yield item
