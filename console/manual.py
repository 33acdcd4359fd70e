"""The manual: examples and exit codes of every command, in its help and as man pages.

What a command does and which options it takes stands where the command is defined. What cannot be told from
there stands here, by the command's words. A test proves that every command has its entry, and that every
example is one that the command line takes.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

from console import advice
from console.text import visible

REFUSED = 1


class Entry(NamedTuple):
    """Examples as (command line, what it is for), and exit codes where they are not the usual ones."""

    examples: tuple[tuple[str, str], ...]
    exits: tuple[tuple[int, str], ...] = ()


USUAL = (
    (0, "done"),
    (1, "refused, or failed"),
    (2, "used wrongly"),
    (3, "nothing answers at the admin address"),
)
HERE = USUAL[:3]
PROGRAM = ((0, "ended as it should"), (1, "failed"), (2, "used wrongly"))

ENTRIES: dict[str, Entry] = {
    "serve": Entry((("pointsman serve -c pointsman.yaml --workers 2", "run the gateway"),), PROGRAM),
    "check": Entry(
        (
            ("pointsman check -c pointsman.yaml", "before every change"),
            ("pointsman check -c pointsman.yaml --json | jq -r .digest", "the digest alone"),
        ),
        HERE,
    ),
    "demo": Entry(
        (("pointsman demo --once", "a candidate goes bad and is stopped"),),
        ((0, "the switch tripped"), (1, "it did not"), (2, "used wrongly")),
    ),
    "status": Entry(
        (
            ("pointsman status", "every endpoint in brief"),
            ("pointsman status rain --watch", "one in full, live"),
            ("pointsman status --watch --json", "a line of JSON for every change"),
        )
    ),
    "kill": Entry((("pointsman kill rain --reason 'complaints from the coast'", "stop the candidate"),)),
    "rearm": Entry((("pointsman rearm rain --reason 'fixed in rain-3'", "let it start again, from shadow"),)),
    "pairs": Entry(
        (
            ("pointsman pairs rain --worst 3", "the three that differ most"),
            ("pointsman pairs rain --guard latency_p99", "the ones in which it was slower by most"),
        )
    ),
    "live-at": Entry((("pointsman live-at 2026-03-01T14:30:00Z rain", "what answered then"),)),
    "why": Entry((("pointsman why 01J9Z3 --unit customer-17", "one decision, and that unit's bucket"),)),
    "diagnose": Entry((("pointsman diagnose rain --signal errors", "why there are more errors"),)),
    "drift": Entry(
        (("pointsman drift rain --hours 48", "the last two days"),),
        ((0, "no drift is certain"), (1, "drifted, or refused"), *USUAL[2:]),
    ),
    "accuracy": Entry((("pointsman accuracy rain --by version,cohort", "who is right, and about whom"),)),
    "labels import": Entry(
        (("pointsman labels import labels.parquet", "send what was really true"),),
        ((0, "all were taken"), (1, "some were refused"), *USUAL[2:]),
    ),
    "labels status": Entry((("pointsman labels status", "how many were joined"),)),
    "audit verify": Entry(
        (
            ("pointsman audit verify", "the running gateway's chain"),
            ("pointsman audit verify --file audit.jsonl --heads heads.jsonl", "an export, by kept heads"),
        ),
        ((0, "every record is whole"), (1, "the chain is broken, or refused"), *USUAL[2:]),
    ),
    "audit export": Entry((("pointsman audit export --output audit.jsonl", "every record, a line each"),)),
    "gate run": Entry(
        (
            ("pointsman gate run rain", "by the running gateway"),
            ("pointsman gate run rain -c pointsman.yaml --json", "here, as in a pipeline"),
        ),
        (
            (0, "PASS"),
            (1, "FAIL"),
            (2, "INCONCLUSIVE, or used wrongly"),
            (3, "ERROR, or nothing answers at the admin address"),
        ),
    ),
    "release start": Entry((("pointsman release start rain --as mara", "begin; the gates come first"),)),
    "release approve": Entry(
        (("pointsman release approve 01J9Z3 --reason 'figures read' --as olu", "one person's word"),)
    ),
    "release status": Entry((("pointsman release status rain", "where it stands, and what it waits for"),)),
    "release abort": Entry((("pointsman release abort rain --reason 'wrong data'", "nobody gets it more"),)),
    "release list": Entry((("pointsman release list --json", "the newest of all endpoints"),)),
    "drill run": Entry(
        (("pointsman drill run rain --fault flip", "rehearse the rollback"),),
        ((0, "it passed"), (1, "it failed, or was refused"), *USUAL[2:]),
    ),
    "drill list": Entry((("pointsman drill list rain", "recovery times so far"),)),
    "notify list": Entry((("pointsman notify list", "who is told, and what waits"),)),
    "notify test": Entry(
        (("pointsman notify test pager", "does it arrive?"),),
        ((0, "it was delivered"), (1, "it was not, or was refused"), *USUAL[2:]),
    ),
    "token create": Entry(
        (("pointsman token create ci --role release --expires 90d -c pointsman.yaml", "printed once"),), HERE
    ),
    "token list": Entry((("pointsman token list -c pointsman.yaml", "and until when they hold"),), HERE),
    "token revoke": Entry((("pointsman token revoke ci -c pointsman.yaml", "within a second"),), HERE),
    "dashboards": Entry((("pointsman dashboards grafana/", "for Grafana's provisioning"),), HERE),
    "help": Entry((("pointsman help release start", "the same as 'release start --help'"),), HERE),
    "man": Entry((("pointsman man ~/.local/share/man/man1", "then: man pointsman-status"),), HERE),
}

ENVIRONMENT = (
    ("POINTSMAN_ADMIN", "the admin API's address, in place of --admin"),
    ("POINTSMAN_TOKEN", "the token that is shown to it"),
    ("POINTSMAN_CA", "PEM file of the authority behind its certificate"),
    ("NO_COLOR", "no colours, when it is set and not empty"),
    ("FORCE_COLOR", "colours also where no terminal is"),
)


SECTION = "1"


class Command(TyperCommand):
    """A command whose help ends with its examples and exit codes."""

    def get_help(self, ctx: Any) -> str:
        """The help, and what the manual adds."""
        return super().get_help(ctx) + added(_words(ctx))


def added(words: str) -> str:
    """Examples and exit codes of the command `words`, for people; "" where there is no entry."""
    entry = ENTRIES.get(words)
    if entry is None:
        return ""
    lines = [" Examples"]
    for line, what in entry.examples:
        lines += [f"   {line}", f"       {what}"]
    lines += ["", " Exit status", *(f"   {code}  {what}" for code, what in entry.exits or USUAL)]
    return "\n".join(lines) + "\n"


def attach(app: typer.Typer) -> None:
    """Give every command of `app`, and of what was added to it, its part of the manual."""
    for command in app.registered_commands:
        command.cls = Command
    for group in app.registered_groups:
        if isinstance(group.typer_instance, typer.Typer):
            attach(group.typer_instance)


def show(
    ctx: typer.Context,
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[COMMAND]...", help="Which one; else the list of them.")
    ] = None,
) -> None:
    """Show what a command does, with examples: the same as COMMAND --help."""
    context: Any = ctx.find_root()
    for word in words or ():
        command = context.command
        known = command.commands if isinstance(command, TyperGroup) else {}
        if word not in known:
            meant = advice.nearest(word, known) or "'pointsman help' lists them"
            raise typer.BadParameter(f"there is no command {visible(word)!r}; {meant}", param_hint="COMMAND")
        context = type(context)(known[word], info_name=word, parent=context)
    typer.echo(context.get_help().rstrip())


def write(
    ctx: typer.Context,
    directory: Annotated[
        Path, typer.Argument(metavar="DIRECTORY", help="Where to; it is made, pages of ours are replaced.")
    ],
) -> None:
    """Write a man page for every command, and one that lists them."""
    command = ctx.find_root().command
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, page in pages(command).items():
            place = directory / f"{name}.{SECTION}"
            place.write_text(page, "utf-8")
            typer.echo(visible(str(place)))
    except OSError as error:
        why = f"{error.filename or directory} cannot be written ({error.strerror}): name another directory"
        typer.echo(visible(why), err=True)
        raise typer.Exit(REFUSED) from error


def pages(program: object) -> dict[str, str]:
    """The man pages of `program`, a group of commands, by name without the section."""
    found = dict(_leaves(program, ()))
    whole = [
        _head("pointsman", "the inference gateway that makes it safe to change a model in production"),
        _section("SYNOPSIS", [".B pointsman", _roff("COMMAND [OPTIONS] [ARGUMENTS]")]),
        _section("COMMANDS", [_item(f"pointsman {words}", _brief(one)) for words, one in found.items()]),
        _environment(),
    ]
    made = {f"pointsman-{words.replace(' ', '-')}": _page(words, one) for words, one in found.items()}
    return {"pointsman": "\n".join(whole) + "\n", **made}


def _leaves(group: Any, words: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        path = (*words, name)
        if isinstance(command, TyperGroup):
            yield from _leaves(command, path)
        else:
            yield " ".join(path), command


def _page(words: str, command: Any) -> str:
    entry = ENTRIES[words]
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    context = typer.Context(command, info_name=words)
    options = [one for one in command.params if one.param_type_name == "option"]
    records = [one.get_help_record(context) for one in (*options, command.get_help_option(context))]
    synopsis = " ".join(["[OPTIONS]", *(_called(one) for one in arguments)])
    parts = [
        _head(f"pointsman-{words.replace(' ', '-')}", _brief(command)),
        _section("SYNOPSIS", [f".B pointsman {words}", _roff(synopsis)]),
        _section("DESCRIPTION", [_roff(" ".join((command.help or "").split()))]),
    ]
    if arguments:
        parts.append(_section("ARGUMENTS", [_item(_called(one), one.help or "") for one in arguments]))
    parts += [
        _section("OPTIONS", [_item(*told) for told in records if told is not None]),
        _section(
            "EXAMPLES", [f"{_item(what, '')}\n.nf\n{_roff(line)}\n.fi" for line, what in entry.examples]
        ),
        _section("EXIT STATUS", [_item(str(code), what) for code, what in entry.exits or USUAL]),
        _environment(),
        _section("SEE ALSO", [f".BR pointsman ({SECTION})"]),
    ]
    return "\n".join(parts) + "\n"


def _head(name: str, brief: str) -> str:
    version = importlib.metadata.version("pointsman")
    title = f'.TH {_roff(name.upper())} {SECTION} "" "pointsman {version}"'
    return f"{title}\n.SH NAME\n{_roff(name)} \\- {_roff(brief)}"


def _environment() -> str:
    return _section("ENVIRONMENT", [_item(name, what) for name, what in ENVIRONMENT])


def _section(title: str, lines: list[str]) -> str:
    return "\n".join([f".SH {title}", *lines])


def _item(term: str, text: str) -> str:
    return f".TP\n{_roff(term)}\n{_roff(text)}".rstrip("\n")


def _brief(command: Any) -> str:
    return " ".join((command.help or "").split()).split(". ")[0].rstrip(".")


def _called(argument: Any) -> str:
    return str(argument.metavar or argument.name.upper())


def _roff(text: str) -> str:
    """`text` as roff reads it literally."""
    lines = text.replace("\\", "\\e").replace("-", "\\-").split("\n")
    return "\n".join(f"\\&{line}" if line[:1] in {".", "'"} else line for line in lines)


def _words(context: Any) -> str:
    names: list[str] = []
    while context.parent is not None:
        names.append(context.info_name)
        context = context.parent
    return " ".join(reversed(names))
