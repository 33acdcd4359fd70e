"""The local lineage file, in YAML. It is read again when it has changed, and not otherwise."""

from __future__ import annotations

import asyncio
from pathlib import Path

from domain.errors import ConfigError, LineageUnknown
from domain.lineage import Lineage
from domain.reference import Reference
from registry import document
from settings import file


class LineageFile:
    """The records in the file at `path`."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._seen: tuple[int, ...] | None = None
        self._records: dict[str, Lineage] = {}
        self._refusal: ConfigError | None = None
        self._reading = asyncio.Lock()

    async def lookup(self, reference: Reference) -> Lineage:
        """See `LineageSource`. A file that cannot be read, or is wrong, raises ConfigError."""
        async with self._reading:
            await asyncio.to_thread(self._follow)
        if self._refusal is not None:
            raise self._refusal
        found = self._records.get(reference.name)
        if found is None:
            raise LineageUnknown(f"{self._path} has no version {reference.name!r}")
        return found

    async def close(self) -> None:
        """Nothing is held open."""

    def _follow(self) -> None:
        now = file.identity(self._path)
        if now is not None and now == self._seen:
            return
        # What cannot be read now is looked at again, whether it changes or not.
        self._seen = None
        try:
            self._records, self._refusal = read(self._path), None
        except ConfigError as error:
            self._refusal = error
            if error.path == UNREADABLE:
                return
        self._seen = now


UNREADABLE = "registry.path"
"""The path of the error for a file that is not there, or may not be read."""


def read(path: Path) -> dict[str, Lineage]:
    """The records in the file at `path`, by name. Raises ConfigError."""
    try:
        return document.records(file.document(path))
    except ConfigError as error:
        if error.path == "configuration file":
            allowed = f"the lineage file cannot be read: {error.allowed}"
            raise ConfigError(UNREADABLE, error.value, allowed) from error
        # Problems with the YAML name the file already, problems with a key do not.
        where = error.path if error.path.startswith(str(path)) else f"{path}: {error.path}"
        raise ConfigError(where, error.value, error.allowed) from error
