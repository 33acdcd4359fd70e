"""`pointsman drill`: rehearsed rollbacks, run and looked at."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Annotated

import msgspec
import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from console import progress
from console.client import DEFAULT_ADMIN, AdminClient, Unreachable
from console.completion import endpoint_names
from console.text import visible

LOOK = 0.5
"""Seconds between two looks at a drill that goes on."""
GAP = 60.0
"""Seconds for which the admin API may be away meanwhile: a control process that restarts ends its drill."""
ENDED = ("passed", "failed")
_STYLES = {"passed": "bold green", "failed": "bold red"}

AdminOption = Annotated[
    str, typer.Option("--admin", envvar="POINTSMAN_ADMIN", metavar="URL", help="The gateway's admin API.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines, nothing else.")]

drill = typer.Typer(
    name="drill",
    help="Drills: the rollback rehearsed with an injected fault, and its time measured.",
    no_args_is_help=True,
)


class FaultName(StrEnum):
    """What is done to the candidate's answers."""

    flip = "flip"
    noise = "noise"
    error = "error"
    latency = "latency"
    json = "json"


class DrillView(msgspec.Struct, frozen=True):
    """A drill as the admin API answers it; times are null where there was none."""

    id: str
    endpoint: str
    version: str
    state: str
    reason: str
    fault: str
    by: str
    began_at: str
    cause: str
    requests: int
    failed_requests: int
    pairs: int
    spoilt: int
    spoilt_served: int
    limit_ms: float
    first_bad_at: str | None = None
    breach_at: str | None = None
    trip_at: str | None = None
    last_bad_served_at: str | None = None
    confirmed_at: str | None = None
    recovery_ms: float | None = None


class DrillsView(msgspec.Struct, frozen=True):
    drills: tuple[DrillView, ...]


def overview(found: Sequence[DrillView]) -> RenderableType:
    """A line for each drill."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("endpoint", "began", "fault", "by", "state", "recovery", "why", "id"):
        table.add_column(heading, overflow="fold")
    for one in found:
        recovery = "" if one.recovery_ms is None else f"{one.recovery_ms:.0f} ms"
        table.add_row(
            Text(visible(one.endpoint)), Text(visible(one.began_at)), one.fault, Text(visible(one.by)),
            Text(visible(one.state), _STYLES.get(one.state, "bold")), recovery, Text(visible(one.reason)),
            Text(visible(one.id)),
        )  # fmt: skip
    return table


def shown(one: DrillView) -> RenderableType:
    """How it went, moment by moment."""
    head = Text.assemble(
        f"{visible(one.endpoint)}: drill of {visible(one.version)} by fault {visible(one.fault)} ",
        (visible(one.state).upper(), _STYLES.get(one.state, "bold")),
    )
    table = Table(box=None, pad_edge=False, show_header=False)
    moments = (
        ("first bad answer", one.first_bad_at), ("breach", one.breach_at), ("trip", one.trip_at),
        ("last bad answer", one.last_bad_served_at), ("every worker confirmed", one.confirmed_at),
    )  # fmt: skip
    for name, at in moments:
        table.add_row(name, Text(visible(at or "never")))
    answers = (
        f"{one.requests} requests, {one.failed_requests} of them failed; {one.pairs} pairs judged; "
        f"{one.spoilt} bad answers, {one.spoilt_served} of them to clients"
    )
    return Group(
        head, Text(visible(one.reason)), table, Text(answers), Text(f"drill {visible(one.id)}", "dim")
    )


def awaited(
    base: str,
    name: str,
    connect: Callable[[str], AdminClient] = AdminClient,
    look: float = LOOK,
    tell: Callable[[str], None] = lambda _: None,
) -> object:
    """The report of the drill `name` once it has ended. Raises Refused, and Unreachable after GAP seconds."""
    away_since: float | None = None
    while True:
        try:
            with connect(base) as client:
                answer = client.drill(name)
        except Unreachable:
            away_since = away_since or time.monotonic()
            if time.monotonic() - away_since > GAP:
                raise
        else:
            away_since = None
            if isinstance(answer, dict) and answer.get("state") in ENDED:
                return answer
            if isinstance(answer, dict):
                tell(f"{answer.get('state')}: {answer.get('requests')} requests, {answer.get('pairs')} pairs")
        time.sleep(look)


@drill.command("run")
def run_drill(
    name: Annotated[
        str,
        typer.Argument(
            metavar="ENDPOINT",
            help="The endpoint's name in the configuration.",
            autocompletion=endpoint_names,
        ),
    ],
    fault: Annotated[
        FaultName | None, typer.Option("--fault", help="In place of the configured one.", show_default=False)
    ] = None,
    person: Annotated[str | None, typer.Option("--as", metavar="NAME", help="Who runs it; recorded.")] = None,
    admin: AdminOption = DEFAULT_ADMIN,
    as_json: JsonOption = False,
) -> None:
    """Rehearse the rollback and wait for its end. Exit code 0: it passed; 1: it failed, or was refused."""
    from console import app as main  # which adds these commands to its own

    wanted = None if fault is None else fault.value
    begun = main._read(
        main._ask(admin, lambda client: client.start_drill(name, wanted, person), as_json), DrillView
    )
    with progress.working(f"{name}: drill {begun.id}") as tell:
        answer = main._ask(admin, lambda client: awaited(client.base, begun.id, tell=tell), as_json)
    found = main._read(answer, DrillView)
    if as_json:
        main._print_json(answer)
    else:
        main._show(shown(found))
    if found.state != "passed":
        raise typer.Exit(main.REFUSED)


@drill.command("list")
def list_drills(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[ENDPOINT]", help="One endpoint; else all of them.", autocompletion=endpoint_names
        ),
    ] = None,
    admin: AdminOption = DEFAULT_ADMIN,
    as_json: JsonOption = False,
) -> None:
    """The newest drills first, with their recovery times."""
    from console import app as main

    answer = main._ask(admin, lambda client: client.drills(name), as_json)
    if as_json:
        main._print_json(answer)
        return
    found = main._read(answer, DrillsView).drills
    main._show(overview(found) if found else Text("no drills yet"))
