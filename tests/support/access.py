"""An admin API that asks who is there: tokens for every role, made as the command line makes them."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from domain.role import ROLES, Role
from settings import token_file, tokens
from settings.access import AuthSettings
from settings.file import load
from settings.tokens import Token
from tests.support.control import Here, document, here, write


def issue(
    path: Path,
    name: str,
    role: Role,
    *endpoints: str,
    now: float = 1.0,
    expires: float | None = None,
    person: str = "",
) -> str:
    """A new token in the file at `path`, as its holder gets it."""
    secret = secrets.token_bytes(tokens.SECRET_BYTES)
    made = Token(
        secrets.token_hex(tokens.ID_BYTES), name, tokens.digest(secret), role, endpoints or ("*",), now,
        expires=expires, person=person,
    )  # fmt: skip
    with token_file.changing(path) as found:
        found[made.id] = made
    return tokens.written(made, secret)


def revoke(path: Path, name: str, now: float = 2.0) -> None:
    """End the tokens called `name`."""
    with token_file.changing(path) as found:
        for key, one in found.items():
            if one.name == name:
                found[key] = replace(one, revoked=now)


def of_every_role(path: Path) -> dict[str, str]:
    """A token for each role, by its word; and one of release on the endpoint `wind` alone."""
    made = {role: issue(path, f"some-{role}", ROLES[role]) for role in ROLES}
    return {**made, "elsewhere": issue(path, "of-wind", Role.ADMIN, "wind")}


def bearer(token: str) -> dict[str, str]:
    """The header that shows `token`."""
    return {"authorization": f"Bearer {token}"}


@asynccontextmanager
async def guarded(
    folder: Path,
    auth: AuthSettings | None = None,
    endpoint: Mapping[str, Any] | None = None,
    **more: Any,
) -> AsyncIterator[Here]:
    """As `here`, with authentication; its tokens file is `folder`/tokens.json."""
    path = folder / "tokens.json"
    if not path.exists():
        with token_file.changing(path):
            pass
    wanted = auth or AuthSettings(tokens_file=str(path))
    settings = replace(load(write(folder, document(folder, **(endpoint or {})))), auth=wanted)
    async with here(folder, settings=settings, **more) as started:
        yield started
