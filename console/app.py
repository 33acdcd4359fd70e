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
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, NoReturn, TypeVar

import msgspec
import typer
from rich.console import Console, RenderableType
from rich.text import Text

from console import (
    advice,
    completion,
    dashboards,
    deciding,
    drifting,
    drilling,
    labelling,
    manual,
    notifying,
    progress,
    releasing,
    tables,
    tokens,
)
from console.checking import review
from console.client import DEFAULT_ADMIN, TIMEOUT, TOKEN, AdminClient, Refused, Unreachable
from console.text import visible
from console.views import EndpointsView, EndpointView, KilledView, PairsView, RearmedView, SwitchOnly
from domain.errors import ConfigError, StateUnavailable

REFUSED, UNREACHABLE = 1, 3
GATES_ERROR = 3
GATES_TIMEOUT = 8 * 86_400.0
"""Seconds: a load may last a week."""

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
    str,
    typer.Argument(
        metavar="ENDPOINT",
        help="The endpoint's name in the configuration.",
        autocompletion=completion.endpoint_names,
    ),
]
ReasonOption = Annotated[
    str, typer.Option("--reason", metavar="TEXT", help="Why; kept with the kill or re-arm.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines, nothing else.")]

app = typer.Typer(
    name="pointsman",
    help="The inference gateway that makes it safe to change a model in production.",
    no_args_is_help=True,
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
def check(config: ConfigOption, as_json: JsonOption = False) -> None:
    """Are the configuration and its flag file valid? Prints the digest, or every problem."""
    found, problems, warnings = review(config)
    if as_json:
        valid = found is not None and not problems
        digest = found.digest if found is not None else None
        _print_json(
            {"valid": valid, "digest": digest, "problems": [*map(str, problems)], "warnings": warnings}
        )
        if not valid:
            raise typer.Exit(REFUSED)
        return
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
        str | None,
        typer.Argument(
            metavar="[ENDPOINT]",
            help="One endpoint in full; else all in brief.",
            autocompletion=completion.endpoint_names,
        ),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Show it again as it changes, until q or Ctrl-C.")
    ] = False,
    admin: AdminOption = DEFAULT_ADMIN,
    as_json: JsonOption = False,
) -> None:
    """Switch, split, release and guards with their evidence."""
    if watch:
        _watch(name, admin, as_json)
        return
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


def _watch(name: str | None, admin: str, as_json: bool) -> None:
    from console import watching  # it takes what only a terminal has

    def ask(client: AdminClient) -> object:
        return client.endpoints() if name is None else client.endpoint(name)

    def draw(answer: object) -> RenderableType:
        if name is None:
            return tables.overview(msgspec.convert(answer, EndpointsView).endpoints)
        return tables.endpoint(msgspec.convert(answer, EndpointView))

    with watching.leaving_clean():
        first = _ask(admin, ask, as_json)
        _read(first, EndpointsView if name is None else EndpointView)
        watching.run(first, ask, draw, lambda patience: AdminClient(admin, timeout=patience), as_json, _show)


@app.command()
def kill(
    name: EndpointArgument,
    reason: ReasonOption,
    admin: AdminOption = DEFAULT_ADMIN,
    as_json: JsonOption = False,
) -> None:
    """Take the candidate out of traffic, now."""
    _demand_reason(reason)
    answer = _ask(admin, lambda client: client.kill(name, reason), as_json)
    done = _read(answer, KilledView)
    if as_json:
        _print_json(answer)
        return
    kept = "kept on disk" if done.durable else "NOT kept on disk yet: a restart would forget it"
    if done.confirmed_ms is None:
        reach = "not yet confirmed by every worker"
    else:
        reach = f"confirmed by {_count(done.workers, 'worker')} in {done.confirmed_ms:.1f} ms"
    tripped = (f"{visible(name)} is TRIPPED", "bold red")
    _show(Text.assemble(tripped, f": {reach}, {kept}; kill {visible(done.kill)}"))


@app.command()
def rearm(
    name: EndpointArgument,
    reason: ReasonOption,
    admin: AdminOption = DEFAULT_ADMIN,
    as_json: JsonOption = False,
) -> None:
    """End a trip: shows the kills in force and clears exactly those. The candidate restarts from shadow."""
    _demand_reason(reason)
    switch = _read(_ask(admin, lambda client: client.endpoint(name), as_json), SwitchOnly).switch
    if switch.unreadable is not None:
        raise _failure(
            f"the kills kept on disk cannot be read now, so none can be cleared: {switch.unreadable}"
        )
    seen = switch.kills
    if not seen:
        raise _failure(f"{name} is not tripped: there is nothing to re-arm")
    if not as_json:
        _show(Text("Clearing"), tables.kills(seen))
    hint = f"nothing was cleared; 'pointsman status {name}' shows the kills that are in force now"
    ids = [kill.id for kill in seen]
    answer = _ask(admin, lambda client: client.rearm(name, reason, ids), as_json, hint=hint)
    if as_json:
        _print_json(answer)
        return
    cleared = _count(len(_read(answer, RearmedView).cleared), "kill")
    _show(Text(f"{visible(name)} is armed again: {cleared} cleared, the candidate starts from shadow"))


@app.command()
def pairs(
    name: EndpointArgument,
    worst: Annotated[
        int, typer.Option("--worst", min=1, max=200, metavar="N", help="How many, worst first.")
    ] = 5,
    guard: Annotated[
        str | None, typer.Option("--guard", metavar="NAME", help="Worst by what this guard watches.")
    ] = None,
    admin: AdminOption = DEFAULT_ADMIN,
    as_json: JsonOption = False,
) -> None:
    """The most divergent pairs, both predictions side by side."""
    answer = _ask(admin, lambda client: client.pairs(name, worst, guard), as_json)
    if as_json:
        _print_json(answer)
        return
    found = _read(answer, PairsView).pairs
    _show(*map(tables.pair, found) if found else (Text("no pairs yet"),))


@app.command("live-at")
def live_at(
    timestamp: Annotated[
        str, typer.Argument(metavar="TIMESTAMP", help="ISO 8601 with its offset: 2026-03-01T14:30:00+01:00.")
    ],
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[ENDPOINT]",
            help="One endpoint; else all of them.",
            autocompletion=completion.endpoint_names,
        ),
    ] = None,
    admin: AdminOption = DEFAULT_ADMIN,
    as_json: JsonOption = False,
) -> None:
    """What model, data and configuration was live at an instant, and the records that made it so."""
    answer = _ask(admin, lambda client: client.live(timestamp, name), as_json)
    if as_json:
        _print_json(answer)
        return
    from console import auditing  # it takes the database's libraries, which no other command needs

    _show(auditing.live(_read(answer, auditing.LiveView)))


audit = typer.Typer(
    name="audit", help="The audit chain: is it whole, and what is in it?", no_args_is_help=True
)
app.add_typer(audit)

DatabaseOption = Annotated[
    str | None,
    typer.Option("--database", metavar="URL", help="Read this database itself; no gateway is needed."),
]


@audit.command()
def verify(
    file: Annotated[
        Path | None, typer.Option("--file", metavar="FILE", help="An export, in place of a gateway.")
    ] = None,
    database: DatabaseOption = None,
    heads: Annotated[
        Path | None, typer.Option("--heads", metavar="FILE", help="Signed heads that were kept elsewhere.")
    ] = None,
    key: Annotated[
        Path | None, typer.Option("--key", metavar="FILE", help="The public key that must have signed them.")
    ] = None,
    admin: AdminOption = DEFAULT_ADMIN,
    as_json: JsonOption = False,
) -> None:
    """Is every record whole and in its place? Reads the whole chain, here, and says where it is broken."""
    from audit.chain import BrokenChain
    from console import auditing

    if file is not None and database is not None:
        raise typer.BadParameter("give one of --file and --database", param_hint="--file")
    try:
        with _told(ConfigError, StateUnavailable):
            known = auditing.read_heads(heads, key)
            with progress.working("reading the audit chain") as tell:
                if file is not None:
                    found = auditing.verify_file(file, known)
                elif database is not None:
                    found = auditing.verify_database(database, known)
                else:
                    with AdminClient(admin) as client:
                        lines = progress.counted(client.export(), tell, "records verified")
                        found = auditing.verify_lines(lines, known, client.base)
    except BrokenChain as error:
        if as_json:
            _print_json({"intact": False, "sequence": error.sequence, "reason": error.reason})
        raise _failure(f"the chain is broken at {error}") from error
    if as_json:
        _print_json(
            {
                "intact": True, "size": found.size, "chain": found.chain.hex(), "root": found.root.hex(),
                "erased": found.erased, "heads": found.heads,
            }
        )  # fmt: skip
    else:
        _show(auditing.sentence(found, known))


@audit.command()
def export(
    mlbom: Annotated[
        str | None,
        typer.Option("--mlbom", metavar="VERSION", help="Instead: what a version was made of, as CycloneDX."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="Where to; else standard output.")
    ] = None,
    database: DatabaseOption = None,
    admin: AdminOption = DEFAULT_ADMIN,
) -> None:
    """Every record as a line of JSON, in the very bytes that were hashed; `audit verify --file` reads it."""
    from console import auditing

    if mlbom is not None:
        document = _ask(admin, lambda client: client.bill_of_materials(mlbom))
        if output is None:
            _print_json(document)
        else:
            output.write_text(json.dumps(document, indent=2) + "\n", "utf-8")
        return
    with _told(ConfigError, StateUnavailable, OSError), ExitStack() as stack:
        if database is not None:
            lines = auditing.export_database(database)
        else:
            lines = stack.enter_context(AdminClient(admin)).export()
        out = sys.stdout.buffer if output is None else stack.enter_context(output.open("wb"))
        if output is not None:
            tell = stack.enter_context(progress.working(f"writing {output}"))
            lines = progress.counted(lines, tell, "records written")
        auditing.copy(lines, out)
        out.flush()


gate = typer.Typer(
    name="gate", help="Promotion gates: what must hold before a release takes a step.", no_args_is_help=True
)
app.add_typer(gate)


@gate.command("run")
def run_gates(
    name: EndpointArgument,
    config: Annotated[
        Path | None,
        typer.Option(
            "-c", "--config", metavar="FILE", help="Run them here, by this file; no gateway is needed."
        ),
    ] = None,
    admin: AdminOption = DEFAULT_ADMIN,
    as_json: JsonOption = False,
) -> None:
    """Execute every gate against the real servers. Exit code: 0 PASS, 1 FAIL, 2 INCONCLUSIVE, 3 ERROR."""
    from console import gating  # it takes what the gates need, which no other command does

    if config is not None:
        answer = gating.executed(config, name, lambda one: _complain(f"{name}: {one} ..."))
    else:
        try:
            with progress.working(f"{name}: the gateway executes the gates"):
                answer = _ask(admin, lambda client: client.run_gates(name), as_json, timeout=GATES_TIMEOUT)
        except typer.Exit as leaving:
            raise typer.Exit(GATES_ERROR) from leaving
    view = _read(answer, gating.GatesView)
    if as_json:
        _print_json(answer)
    else:
        _show(gating.shown(view))
    raise typer.Exit(gating.code(view))


release = typer.Typer(
    name="release", help="Releases: from the incumbent to the candidate, by evidence.", no_args_is_help=True
)
app.add_typer(release)


@release.command("start")
def start_release(
    name: EndpointArgument,
    person: Annotated[
        str | None, typer.Option("--as", metavar="NAME", help="Who starts it, and so does not approve it.")
    ] = None,
    admin: AdminOption = DEFAULT_ADMIN,
    as_json: JsonOption = False,
) -> None:
    """Start a release of the candidate that is configured; its gates are executed next."""
    _show_release(_ask(admin, lambda client: client.start_release(name, person), as_json), as_json)


@release.command("approve")
def approve_release(
    name: Annotated[str, typer.Argument(metavar="ID", help="The release's id, as 'release list' shows it.")],
    reason: ReasonOption,
    person: Annotated[
        str | None,
        typer.Option("--as", metavar="NAME", help="Whose word it is, where nobody is asked to prove it."),
    ] = None,
    admin: AdminOption = DEFAULT_ADMIN,
    as_json: JsonOption = False,
) -> None:
    """Say that a release whose gates have passed may begin."""
    _demand_reason(reason)
    _show_release(_ask(admin, lambda client: client.approve_release(name, reason, person), as_json), as_json)


@release.command("status")
def release_status(
    name: EndpointArgument, admin: AdminOption = DEFAULT_ADMIN, as_json: JsonOption = False
) -> None:
    """The endpoint's newest release, with every step that it took."""
    found = _newest_release(admin, name, as_json)
    _show_release(_ask(admin, lambda client: client.release(found), as_json), as_json)


@release.command("abort")
def abort_release(
    name: EndpointArgument,
    reason: ReasonOption,
    admin: AdminOption = DEFAULT_ADMIN,
    as_json: JsonOption = False,
) -> None:
    """Stop the endpoint's release: nobody is served by its candidate any more."""
    _demand_reason(reason)
    found = _newest_release(admin, name, as_json)
    _show_release(_ask(admin, lambda client: client.abort_release(found, reason), as_json), as_json)


@release.command("list")
def list_releases(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[ENDPOINT]",
            help="One endpoint; else all of them.",
            autocompletion=completion.endpoint_names,
        ),
    ] = None,
    admin: AdminOption = DEFAULT_ADMIN,
    as_json: JsonOption = False,
) -> None:
    """The newest releases first."""
    answer = _ask(admin, lambda client: client.releases(name), as_json)
    if as_json:
        _print_json(answer)
        return
    found = _read(answer, releasing.ReleasesView).releases
    _show(releasing.overview(found) if found else Text("no releases yet"))


app.command()(deciding.why)
app.command()(deciding.diagnose)
app.command()(drifting.drift)
app.add_typer(notifying.notify)
app.add_typer(drilling.drill)
app.add_typer(labelling.labels)
app.command()(labelling.accuracy)
app.add_typer(tokens.token)
app.command()(dashboards.dashboards)
app.command("help")(manual.show)
app.command("man")(manual.write)
manual.attach(app)


def _newest_release(admin: str, name: str, as_json: bool) -> str:
    found = _read(_ask(admin, lambda client: client.releases(name), as_json), releasing.ReleasesView).releases
    if not found:
        raise _failure(f"{name} has no release; 'pointsman release start {name}' starts one")
    return found[0].id


def _show_release(answer: object, as_json: bool) -> None:
    if as_json:
        _print_json(answer)
    else:
        _show(releasing.shown(_read(answer, releasing.ReleaseStanding)))


def _become(module: str, *arguments: str) -> NoReturn:
    """Replace this process by `python -m module`, so that signals and the exit code are the module's own."""
    sys.stdout.flush()
    # Without the safe path a folder in the working directory that is named like one of our packages would be
    # run instead; as a variable it holds for the processes that are started from there, too.
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    command = [sys.executable, "-m", module, *arguments]
    os.execve(sys.executable, command, environment)  # noqa: S606 - no shell is meant


def _ask(
    admin: str,
    question: Callable[[AdminClient], object],
    as_json: bool = False,
    hint: str = "",
    timeout: float = TIMEOUT,
) -> object:
    """The answer to `question`; where there is none, complains (with `hint` when refused) and exits."""
    try:
        with AdminClient(admin, timeout=timeout) as client:
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
        said = (str(error), hint, _next_step(admin, error))
        raise _failure("\n".join(part for part in said if part)) from error


def _next_step(admin: str, refused: Refused) -> str:
    """What to do next; for an endpoint that is not there, the name that was probably meant."""
    missing = advice.missing_endpoint(refused.problem)
    if missing is not None:
        return advice.nearest(missing, completion.names(admin, completion.TIMEOUT))
    return _step(refused)


@contextmanager
def _told(*errors: type[Exception]) -> Iterator[None]:
    """Any of `errors`, or a gateway that refuses or is not there, ends the command with its own words."""
    told: tuple[type[Exception], ...] = (Refused, *errors)
    try:
        yield
    except Unreachable as error:
        raise _failure(str(error), UNREACHABLE) from error
    except told as error:
        step = _step(error) if isinstance(error, Refused) else ""
        raise _failure(f"{error}\n{step}" if step else str(error)) from error


def _step(refused: Refused) -> str:
    return advice.next_step(refused.problem, bool(os.environ.get(TOKEN)))


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
