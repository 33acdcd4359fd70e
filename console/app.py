"""The `pointsman` command line.

Exit codes: 0 done, 1 refused or failed, 2 used wrongly, 3 nothing answers at the admin address. What a person
reads goes to standard output, complaints to standard error; with --json standard output carries one JSON
document and nothing else, errors included.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, NoReturn, TypeVar

import msgspec
import typer
from rich.console import Console, RenderableType
from rich.text import Text

from console import tables
from console.checking import review
from console.client import DEFAULT_ADMIN, AdminClient, Refused, Unreachable
from console.text import visible
from console.views import EndpointsView, EndpointView, KilledView, PairsView, RearmedView, SwitchOnly
from domain.errors import ConfigError

REFUSED, UNREACHABLE = 1, 3

View = TypeVar("View")

ConfigOption = Annotated[
    Path,
    typer.Option(
        "-c",
        "--config",
        metavar="FILE",
        help="The configuration, YAML.",
        exists=True,
        dir_okay=False,
        readable=True,
    ),
]
AdminOption = Annotated[
    str, typer.Option("--admin", envvar="POINTSMAN_ADMIN", metavar="URL", help="The gateway's admin API.")
]
EndpointArgument = Annotated[
    str, typer.Argument(metavar="ENDPOINT", help="The endpoint's name in the configuration.")
]
ReasonOption = Annotated[
    str, typer.Option("--reason", metavar="TEXT", help="Why; kept with the kill or re-arm.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines, nothing else.")]

app = typer.Typer(
    name="pointsman",
    help="The inference gateway that makes it safe to change a model in production.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def main() -> None:
    """The program."""
    # An answer may hold characters that the terminal's encoding lacks; a "?" beats a traceback.
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")
    app()


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"pointsman {importlib.metadata.version('pointsman')}")
        raise typer.Exit


@app.callback()
def _pointsman(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and leave.", is_eager=True, callback=_print_version
        ),
    ] = False,
) -> None:
    pass


@app.command()
def serve(
    config: ConfigOption,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Gateway workers; overrides the configuration.")
    ] = None,
) -> None:
    """Run the gateway: workers and control process, until SIGTERM or Ctrl-C."""
    _become("gateway", "-c", str(config), *(("--workers", str(workers)) if workers is not None else ()))


@app.command()
def demo(
    once: Annotated[bool, typer.Option("--once", help="Leave after the timeline.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Two real models, real rows as traffic: the candidate goes bad and the switch trips."""
    _become("examples.rain", *(["--once"] * once), *(["--json"] * as_json))


@app.command()
def check(config: ConfigOption) -> None:
    """Are the configuration and its flag file valid? Prints the digest, or every problem."""
    found, problems, warnings = review(config)
    if found is None or problems:
        _complain(f"{config}: {_count(len(problems), 'problem')}")
        for problem in problems:
            _complain(f"  {problem}")
        raise typer.Exit(REFUSED)
    _show(Text(f"{visible(str(config))} is valid"), tables.settings(found))
    for warning in warnings:
        _complain(f"warning: {warning}")


@app.command()
def status(
    name: Annotated[
        str | None, typer.Argument(metavar="[ENDPOINT]", help="One endpoint in full; else all in brief.")
    ] = None,
    admin: AdminOption = DEFAULT_ADMIN,
    as_json: JsonOption = False,
) -> None:
    """Switch, split, release and guards with their evidence."""
    if name is None:
        answer = _ask(admin, lambda client: client.endpoints(), as_json)
        if not as_json:
            _show(tables.overview(_read(answer, EndpointsView).endpoints))
    else:
        answer = _ask(admin, lambda client: client.endpoint(name), as_json)
        if not as_json:
            _show(tables.endpoint(_read(answer, EndpointView)))
    if as_json:
        _print_json(answer)


@app.command()
def kill(name: EndpointArgument, reason: ReasonOption, admin: AdminOption = DEFAULT_ADMIN) -> None:
    """Take the candidate out of traffic, now."""
    _demand_reason(reason)
    done = _read(_ask(admin, lambda client: client.kill(name, reason)), KilledView)
    kept = "kept on disk" if done.durable else "NOT kept on disk yet: a restart would forget it"
    if done.confirmed_ms is None:
        reach = "not yet confirmed by every worker"
    else:
        reach = f"confirmed by {_count(done.workers, 'worker')} in {done.confirmed_ms:.1f} ms"
    tripped = (f"{visible(name)} is TRIPPED", "bold red")
    _show(Text.assemble(tripped, f": {reach}, {kept}; kill {visible(done.kill)}"))


@app.command()
def rearm(name: EndpointArgument, reason: ReasonOption, admin: AdminOption = DEFAULT_ADMIN) -> None:
    """End a trip: shows the kills in force and clears exactly those. The candidate restarts from shadow."""
    _demand_reason(reason)
    switch = _read(_ask(admin, lambda client: client.endpoint(name)), SwitchOnly).switch
    if switch.unreadable is not None:
        raise _failure(
            f"the kills kept on disk cannot be read now, so none can be cleared: {switch.unreadable}"
        )
    seen = switch.kills
    if not seen:
        raise _failure(f"{name} is not tripped: there is nothing to re-arm")
    _show(Text("Clearing"), tables.kills(seen))
    hint = f"nothing was cleared; 'pointsman status {name}' shows the kills that are in force now"
    answer = _ask(admin, lambda client: client.rearm(name, reason, [kill.id for kill in seen]), hint=hint)
    cleared = _count(len(_read(answer, RearmedView).cleared), "kill")
    _show(Text(f"{visible(name)} is armed again: {cleared} cleared, the candidate starts from shadow"))


@app.command()
def pairs(
    name: EndpointArgument,
    worst: Annotated[
        int, typer.Option("--worst", min=1, max=200, metavar="N", help="How many, worst first.")
    ] = 5,
    admin: AdminOption = DEFAULT_ADMIN,
    as_json: JsonOption = False,
) -> None:
    """The most divergent pairs, both predictions side by side."""
    answer = _ask(admin, lambda client: client.pairs(name, worst), as_json)
    if as_json:
        _print_json(answer)
        return
    found = _read(answer, PairsView).pairs
    _show(*map(tables.pair, found) if found else (Text("no pairs yet"),))


def _become(module: str, *arguments: str) -> NoReturn:
    """Replace this process by `python -m module`, so that signals and the exit code are the module's own."""
    sys.stdout.flush()
    # Without the safe path a folder in the working directory that is named like one of our packages would be
    # run instead; as a variable it holds for the processes that are started from there, too.
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    command = [sys.executable, "-m", module, *arguments]
    os.execve(sys.executable, command, environment)  # noqa: S606 - no shell is meant


def _ask(
    admin: str, question: Callable[[AdminClient], object], as_json: bool = False, hint: str = ""
) -> object:
    """The answer to `question`; where there is none, complains (with `hint` when refused) and exits."""
    try:
        with AdminClient(admin) as client:
            return question(client)
    except ConfigError as error:
        raise typer.BadParameter(f"{error.value!r}: give {error.allowed}", param_hint=error.path) from error
    except Unreachable as error:
        if as_json:
            title = "Gateway unreachable"
            _print_json({"type": "about:blank", "title": title, "status": 0, "detail": str(error)})
        raise _failure(str(error), UNREACHABLE) from error
    except Refused as error:
        if as_json:
            _print_json(error.problem)
        raise _failure(f"{error}\n{hint}" if hint else str(error)) from error


def _read(answer: object, view: type[View]) -> View:
    try:
        return msgspec.convert(answer, view)
    except msgspec.ValidationError as error:
        raise _failure(
            f"the gateway's answer is not what this version reads ({error}); are both of one version?"
        ) from error


def _demand_reason(reason: str) -> None:
    if not reason.strip():
        raise typer.BadParameter(
            "say why: the reason is kept and shown to whoever comes next", param_hint="--reason"
        )


def _failure(message: str, code: int = REFUSED) -> typer.Exit:
    _complain(message)
    return typer.Exit(code)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _show(*parts: RenderableType) -> None:
    # A pipe has no width: give whole lines room instead of rich's 80 columns.
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 160
    Console(file=sys.stdout, width=width, highlight=False).print(*parts, sep="\n")


def _complain(message: str) -> None:
    for line in message.split("\n"):
        typer.echo(visible(line), err=True)


def _print_json(document: object) -> None:
    # ASCII only: no character of a model's answer can steer a terminal, and every reader decodes it alike.
    typer.echo(json.dumps(document, indent=2))
