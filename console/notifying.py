"""`pointsman notify`: who is told what happens, and whether that works."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec
import typer
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from console.client import DEFAULT_ADMIN
from console.text import visible

TEST_TIMEOUT = 30.0
"""Seconds: a receiver has ten."""

AdminOption = Annotated[
    str, typer.Option("--admin", envvar="POINTSMAN_ADMIN", metavar="URL", help="The gateway's admin API.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines, nothing else.")]

notify = typer.Typer(
    name="notify",
    help="Notifications: who is told what happens, and whether that works.",
    no_args_is_help=True,
)


class ReceiverView(msgspec.Struct, frozen=True):
    """One receiver, as the admin API answers it."""

    name: str
    kind: str
    on: list[str]
    endpoints: list[str]
    waiting: int
    oldest_seconds: float
    outcomes: dict[str, int]
    failed_attempts: int


class ReceiversView(msgspec.Struct, frozen=True):
    """All of them."""

    receivers: list[ReceiverView]


class TestedView(msgspec.Struct, frozen=True):
    """What came of a test."""

    receiver: str
    delivered: bool
    status: int | None
    detail: str


def overview(found: Sequence[ReceiverView]) -> RenderableType:
    """A line for each receiver."""
    table = Table(box=None, pad_edge=False)
    for heading in ("receiver", "kind", "on", "endpoints", "waiting", "oldest", "told", "failed attempts"):
        table.add_column(heading)
    for one in found:
        told = ", ".join(f"{count} {outcome}" for outcome, count in one.outcomes.items() if count)
        table.add_row(
            *map(Text, (
                visible(one.name), one.kind, " ".join(one.on), " ".join(one.endpoints) or "all",
                str(one.waiting), f"{one.oldest_seconds:.0f} s" if one.waiting else "", told or "nothing",
                str(one.failed_attempts),
            ))
        )  # fmt: skip
    return table


def outcome(found: TestedView) -> str:
    """One sentence for people."""
    answered = "" if found.status is None else f" (HTTP {found.status})"
    if found.delivered:
        return f"{found.receiver}: the test was delivered{answered}"
    return f"{found.receiver}: the test was not delivered: {found.detail}"


@notify.command("list")
def list_receivers(admin: AdminOption = DEFAULT_ADMIN, as_json: JsonOption = False) -> None:
    """Every receiver, what waits for it, and how what it was told ended."""
    from console import app as main  # which adds these commands to its own

    answer = main._ask(admin, lambda client: client.receivers(), as_json)
    if as_json:
        main._print_json(answer)
        return
    found = main._read(answer, ReceiversView).receivers
    main._show(overview(found) if found else Text("nobody is told anything: no receiver is configured"))


@notify.command("test")
def try_receiver(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The receiver's name in the configuration.")],
    admin: AdminOption = DEFAULT_ADMIN,
    as_json: JsonOption = False,
) -> None:
    """Send a test notification to one receiver. Exit code 1: it was not delivered."""
    from console import app as main

    answer = main._ask(admin, lambda client: client.test_receiver(name), as_json, timeout=TEST_TIMEOUT)
    found = main._read(answer, TestedView)
    if as_json:
        main._print_json(answer)
    elif found.delivered:
        main._show(Text(visible(outcome(found))))
    else:
        main._complain(outcome(found))
    if not found.delivered:
        raise typer.Exit(main.REFUSED)
