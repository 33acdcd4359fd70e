"""The configuration in force: which file it came from, reloading it, and showing it without its secrets."""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from control import references
from control.flag_platform import FlagPlatform
from control.identity import NOBODY, Identity
from control.log import note
from control.switchboard import Switchboard
from domain.errors import ConfigError, StateUnavailable
from settings import surroundings
from settings.file import identity, load
from settings.schema import Settings

MASK = "***"
PERIOD = 0.5
"""Seconds between two looks at the file."""

log = logging.getLogger("pointsman.configuration")

_SECRET_KEY = re.compile(r"(password|passwd|secret|token|credential|api_?key)$", re.IGNORECASE)
_USERINFO = re.compile(r"(?<=://)[^/@\s]+@")


class RestartNeeded(ConfigError):  # noqa: N818 - what it takes, not a mistake of ours
    """The new configuration changes what only a restart can change."""


class Configuration:
    """The file at `path`, served by the switchboard.

    `configured` is what the file says; `followed` puts the versions that are followed in their places.
    """

    def __init__(self, path: Path, switchboard: Switchboard, flags: FlagPlatform) -> None:
        self.path = path
        self.configured = switchboard.settings
        self.followed: Callable[[Settings], Settings] = lambda configured: configured
        self.follows: Callable[[], Mapping[str, object]] = dict
        self._switchboard = switchboard
        self._flags = flags
        self._reloading = asyncio.Lock()

    async def reload(self, who: Identity = NOBODY) -> bool:
        """Read the file and serve it, as `who` asks; whether it was another. On ConfigError it was not."""
        async with self._reloading:
            settings = await asyncio.to_thread(load, self.path)
            changed = settings.digest != self._switchboard.settings.digest
            if changed:
                demand_same_process(self._switchboard.settings, settings)
                surroundings.receivers(settings, os.environ)
                prepared = self._flags.prepared(settings)
                read = await asyncio.to_thread(references.read, settings)
                await self._switchboard.reconfigure(self.followed(settings), read, who)
                self.configured = settings
                await self._flags.follow(settings, prepared)
            return changed

    async def refollow(self) -> None:
        """Serve the versions that are followed now, with the file as it was read last.

        Raises ConfigError and StateUnavailable: nothing has changed then.
        """
        async with self._reloading:
            settings = self.followed(self.configured)
            if settings.endpoints != self._switchboard.settings.endpoints:
                read = await asyncio.to_thread(references.read, settings)
                await self._switchboard.reconfigure(settings, read)

    async def watch(self) -> None:
        """Serve the file for ever as it is changed; a bad one is told once and the running one stays."""
        seen: tuple[int, ...] | None = None
        while True:
            now = await asyncio.to_thread(identity, self.path)
            if now is not None and now != seen and await self.try_reload():
                seen = now
            await asyncio.sleep(PERIOD)

    async def try_reload(self) -> bool:
        """As `reload`, where nobody waits for the answer: a refusal is logged.

        False: the change could not be recorded, so it was not made; another time it may.
        """
        try:
            await self.reload()
        except ConfigError as error:
            note(log, logging.ERROR, "configuration refused", reason=str(error))
            recorder = self._switchboard.recorder
            recorder.tell(
                recorder.event("refused.configuration", "request", "", reason=str(error), result="refused")
            )
        except StateUnavailable as error:
            note(log, logging.ERROR, "configuration refused for now", reason=str(error))
            return False
        return True

    def shown(self) -> dict[str, object]:
        """Digest, effective configuration with secrets masked, keys without effect, and what is followed."""
        settings = self._switchboard.settings
        return {
            "digest": settings.digest,
            "configuration": masked(settings.document),
            "inert": list(settings.inert),
            "followed": dict(self.follows()),
        }


def masked(value: object) -> object:
    """`value` with secrets replaced: user information in URLs, and texts under keys that name a secret."""
    if isinstance(value, Mapping):
        return {
            key: MASK if isinstance(held, str) and _SECRET_KEY.search(str(key)) else masked(held)
            for key, held in value.items()
        }
    if isinstance(value, list | tuple):
        return [masked(held) for held in value]
    return _USERINFO.sub(f"{MASK}@", value) if isinstance(value, str) else value


def demand_same_process(old: Settings, new: Settings) -> None:
    """Raises RestartNeeded when `new` names another address, database or number of workers."""
    for path, before, after in (
        ("listen", old.listen, new.listen),
        ("admin", old.admin, new.admin),
        ("workers", old.workers, new.workers),
        ("state.database", old.database, new.database),
        ("state.redis", old.sharing.redis, new.sharing.redis),
        ("state.replica", old.sharing.replica, new.sharing.replica),
        ("auth", old.auth, new.auth),
        ("audit", replace(old.audit, keep_access=new.audit.keep_access), new.audit),
    ):
        if before != after:
            raise RestartNeeded(path, str(after), f"it is {before} here; restart to change it")
