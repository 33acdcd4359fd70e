"""`pointsman token`: tokens for the admin API, made, listed and revoked in the tokens file.

They work on the file, on the machine that has it: whoever may write it may do everything anyway, and so the
first token needs no other. A running gateway sees the change within a second and records it.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from domain.errors import ConfigError
from domain.role import EVERYWHERE, ROLES
from settings import token_file, tokens, units
from settings.file import load
from settings.tokens import Token

KEPT = 30 * 86_400.0
"""Seconds for which revoked and expired tokens stay in the file, so that a list can tell of them."""

LONGEST = 3650 * 86_400.0

token = typer.Typer(
    name="token", help="Tokens for the admin API: made, listed, revoked.", no_args_is_help=True
)

ConfigOption = Annotated[
    Path | None,
    typer.Option("-c", "--config", metavar="FILE", help="The configuration whose auth.tokens_file is meant."),
]
FileOption = Annotated[
    Path | None, typer.Option("--file", metavar="FILE", help="The tokens file, instead of -c.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines, nothing else.")]


@token.command("create")
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose it is; every record of it says so.")],
    role: Annotated[str, typer.Option("--role", metavar="ROLE", help=f"One of {', '.join(ROLES)}.")],
    endpoint: Annotated[
        list[str] | None,
        typer.Option("--endpoint", metavar="NAME", help="Only on this endpoint; may be repeated."),
    ] = None,
    expires: Annotated[
        str, typer.Option("--expires", metavar="DURATION", help="When it ends, such as 12h or 90d; or never.")
    ] = "90d",
    person: Annotated[
        str, typer.Option("--for", metavar="PERSON", help="Whose word it is, when it approves a release.")
    ] = "",
    config: ConfigOption = None,
    file: FileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a token and print it, once. Only its digest is kept."""
    from console import app as main  # which adds these commands to its own

    if role not in ROLES:
        raise typer.BadParameter(f"{role!r}: use {', '.join(ROLES)}", param_hint="--role")
    now = time.time()
    with main._told(ConfigError):
        path = _path(config, file)
        known = _endpoints(config)
        for wanted in endpoint or ():
            if known is not None and wanted not in known:
                raise ConfigError(
                    "--endpoint", wanted, f"an endpoint of the configuration: {', '.join(known)}"
                )
        secret = secrets.token_bytes(tokens.SECRET_BYTES)
        made = Token(
            id=secrets.token_hex(tokens.ID_BYTES),
            name=tokens.holder(name, "NAME"),
            digest=tokens.digest(secret),
            role=ROLES[role],
            endpoints=tuple(dict.fromkeys(endpoint or [EVERYWHERE])),
            created=now,
            expires=None if expires == "never" else now + _lifetime(expires),
            person=tokens.holder(person, "--for") if person else "",
        )
        with token_file.changing(path) as found:
            for one in found.values():
                if one.name == made.name and one.stands(now):
                    raise ConfigError(
                        "NAME", made.name, f"token {one.id} has this name: revoke it, or choose another name"
                    )
            for gone in [key for key, one in found.items() if _over(one, now)]:
                del found[gone]
            found[made.id] = made
            tokens.decode(tokens.encode(found), str(path))  # what is written can be read
    if as_json:
        main._print_json({"token": tokens.written(made, secret), **_shown(made, now)})
        return
    typer.echo(tokens.written(made, secret))
    main._complain(f"{_sentence(made)}. It is not shown again: put it into POINTSMAN_TOKEN.")


@token.command("list")
def list_tokens(config: ConfigOption = None, file: FileOption = None, as_json: JsonOption = False) -> None:
    """Every token: whose it is, what it may do, until when. Nothing here could be used as one."""
    from console import app as main

    now = time.time()
    with main._told(ConfigError):
        found = token_file.read(_path(config, file))
    if as_json:
        main._print_json({"tokens": [_shown(one, now) for one in found.values()]})
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("id", "name", "person", "role", "endpoints", "expires", "state"):
        table.add_column(heading)
    for one in found.values():
        told = _shown(one, now)
        table.add_row(
            *map(Text, (
                one.id, one.name, one.person, one.role.word, " ".join(one.endpoints),
                str(told["expires"] or "never"), str(told["state"]),
            ))
        )  # fmt: skip
    main._show(table)


@token.command("revoke")
def revoke(
    name: Annotated[str, typer.Argument(metavar="NAME|ID", help="The token's name, or its id.")],
    config: ConfigOption = None,
    file: FileOption = None,
    as_json: JsonOption = False,
) -> None:
    """End a token. Gateways that read the file refuse it within a second."""
    from console import app as main

    now = time.time()
    with main._told(ConfigError), token_file.changing(_path(config, file)) as found:
        meant = [one for one in found.values() if name in (one.id, one.name) and one.revoked is None]
        if not meant:
            raise ConfigError("NAME|ID", name[:80], "no token of this name or id is there to be revoked")
        for one in meant:
            found[one.id] = replace(one, revoked=now)
    if as_json:
        main._print_json({"revoked": [one.id for one in meant]})
        return
    typer.echo(f"revoked: {', '.join(f'{one.name} ({one.id})' for one in meant)}")


def _path(config: Path | None, file: Path | None) -> Path:
    if file is not None:
        return file
    if config is None:
        raise ConfigError("-c", None, "name the configuration with -c, or the tokens file with --file")
    named = load(config).auth.tokens_file
    if named is None:
        raise ConfigError("auth.tokens_file", None, f"{config} names no tokens file; add one, or use --file")
    return Path(named)


def _endpoints(config: Path | None) -> tuple[str, ...] | None:
    return None if config is None else tuple(one.name for one in load(config).endpoints)


def _lifetime(text: str) -> float:
    try:
        found = units.duration(text)
    except ValueError as error:
        raise ConfigError("--expires", text[:80], f"{error}; or never") from error
    if not 60.0 <= found <= LONGEST:
        raise ConfigError("--expires", text[:80], "1m to 3650d, or never")
    return found


def _over(one: Token, now: float) -> bool:
    ended = [at for at in (one.revoked, one.expires) if at is not None]
    return bool(ended) and min(ended) < now - KEPT


def _shown(one: Token, now: float) -> dict[str, object]:
    state = "revoked" if one.revoked is not None else "in force" if one.stands(now) else "expired"
    return {
        "id": one.id, "name": one.name, "person": one.person or None, "role": one.role.word,
        "endpoints": list(one.endpoints), "created": _iso(one.created), "expires": _iso(one.expires),
        "revoked": _iso(one.revoked), "state": state,
    }  # fmt: skip


def _sentence(one: Token) -> str:
    where = "everywhere" if EVERYWHERE in one.endpoints else f"on {', '.join(one.endpoints)}"
    until = "for ever" if one.expires is None else f"until {_iso(one.expires)}"
    return f"{one.name} has the role {one.role.word} {where}, {until}"


def _iso(at: float | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
