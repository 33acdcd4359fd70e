"""Unleash's admin API, for what is changed there: a flag goes off, its rollout follows a plan.

Sources: `POST .../environments/{environment}/off`, `GET .../strategies` and `PATCH .../strategies/{id}` (JSON
Patch, RFC 6902) of Unleash's admin API, for a token that may update the flag.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any
from urllib.parse import quote

import httpx
import msgspec

from domain.errors import ConfigError
from settings.schema import UnleashSettings
from settings.surroundings import admin_token

DEADLINE = 5.0
"""Seconds for one request."""

LARGEST = 4 * 1024 * 1024
"""Bytes of an answer."""

PASSING = (httpx.HTTPError, TimeoutError)
"""What may be over at the next attempt."""

_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_ROLLOUT = "flexibleRollout"


class Refused(Exception):  # noqa: N818 - an answer, not a mistake
    """Unleash will not do it; trying again would not help."""


class _Strategy(msgspec.Struct):
    id: str
    name: str
    parameters: dict[str, Any] = {}
    disabled: bool | None = False


async def switch_off(server: UnleashSettings, flag: str) -> None:
    """Switch `flag` off in the server's environment. Raises Refused, and what is in PASSING."""
    await _request(server, flag, "POST", "off")


async def set_rollout(server: UnleashSettings, flag: str, percent: int) -> bool:
    """Have the flag's only strategy expose `percent`; whether it was another figure before.

    Raises Refused, also where the flag has another kind of strategy, or several; and what is in PASSING.
    """
    found = await _request(server, flag, "GET", "strategies")
    try:
        strategies = [one for one in msgspec.json.decode(found, type=list[_Strategy]) if not one.disabled]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Refused("Unleash sends what is no list of strategies") from error
    if [one.name for one in strategies] != [_ROLLOUT]:
        names = ", ".join(one.name for one in strategies) or "none"
        raise Refused(
            f"flag {flag} has these strategies: {names}; a release drives a flag whose only one is a gradual "
            "rollout"
        )
    (strategy,) = strategies
    if str(strategy.parameters.get("rollout")) == str(percent):
        return False
    change = [{"op": "replace", "path": "/parameters/rollout", "value": str(percent)}]
    await _request(server, flag, "PATCH", f"strategies/{quote(strategy.id, safe='')}", change)
    return True


async def _request(
    server: UnleashSettings, flag: str, method: str, action: str, body: object = None
) -> bytes:
    try:
        secret = admin_token(server, os.environ) or ""
    except ConfigError as error:
        raise Refused(str(error)) from error
    path = "/".join(
        quote(part, safe="")
        for part in ("projects", server.project, "features", flag, "environments", server.environment)
    )
    headers = {"authorization": secret, "accept-encoding": "identity"}
    content = bytearray()
    async with (
        asyncio.timeout(DEADLINE),
        httpx.AsyncClient(headers=headers, timeout=DEADLINE, follow_redirects=False) as client,
        client.stream(method, f"{server.url}/admin/{path}/{action}", json=body) as answer,
    ):
        status = answer.status_code
        async for part in answer.aiter_raw():
            content += part
            if len(content) > LARGEST:
                raise Refused(f"Unleash answers with more than {LARGEST} bytes")
    if 200 <= status < 300:
        return bytes(content)
    if status in _PASSING:
        raise httpx.HTTPStatusError(f"HTTP {status}", request=answer.request, response=answer)
    raise Refused(_meaning(status, server, flag))


def _meaning(status: int, server: UnleashSettings, flag: str) -> str:
    where = f"{server.project}/{server.environment}"
    meanings = {
        401: f"Unleash does not know the token in {server.admin_token_env}",
        403: f"the token in {server.admin_token_env} may not change {flag} in {where}, or changes there "
        "take a change request: a person has to do it",
        404: f"Unleash has no flag {flag} in {where}",
    }
    return f"HTTP {status}: {meanings.get(status, 'Unleash will not change the flag')}"
