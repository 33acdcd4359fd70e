"""The manual: examples and exit codes of every command, in its help, by `pointsman help`, and as man pages.

What a command does and which options it takes stands where the command is defined. What cannot be told from there
stands here, by the command's words. A test proves that every command has its entry, and that every example is one
that the command line takes.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from console.text import visible

REFUSED, WRONG = 1, 2


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


class Command(TyperCommand):
    """A command whose help ends with its examples and exit codes."""

    def format_help(self, ctx: typer.Context, formatter: typer.HelpFormatter) -> None:
        """Write the help, then what the manual adds."""


def attach(app: typer.Typer) -> None:
    """Give every command of `app` its part of the manual."""


def show() -> None:
    """Show a command's help."""


def write() -> None:
    """Write man pages."""
