"""Delta Lake: which version of a table a version of a model was trained on.

A table's files are never changed, only added and removed by a version of its log, so that the table's id and
the list of the files that are in force, with their sizes, say what the data were: their SHA-256 is the
digest. Only tables that are configured by name can be referred to.

Source: github.com/delta-io/delta/blob/master/PROTOCOL.md (Delta Transaction Log Protocol). The package
`deltalake` is the extra `pointsman[delta]` and is imported when a table is asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from domain.errors import LineageUnknown, StateUnavailable
from domain.lineage import Dataset, Lineage
from domain.reference import Reference
from registry import fields

DEADLINE = 10.0
"""Seconds that an answer is waited for; a thread that hangs longer is left behind."""


class DeltaTables:
    """The tables at `locations`, by name."""

    def __init__(self, locations: Mapping[str, str]) -> None:
        self._locations = locations

    async def lookup(self, reference: Reference) -> Lineage:
        """See `LineageSource`."""
        location = self._locations.get(reference.name)
        if location is None:
            raise LineageUnknown(f"registry.delta.tables has no {reference.name!r}")
        try:
            async with asyncio.timeout(DEADLINE):
                return await asyncio.to_thread(_read, reference, location)
        except TimeoutError as error:
            raise StateUnavailable(f"{reference}: {location} took longer than {DEADLINE:g} s") from error

    async def close(self) -> None:
        """Nothing is held open."""


def _read(reference: Reference, location: str) -> Lineage:
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError, TableNotFoundError

    wanted = int(reference.revision) if reference.revision else None
    try:
        table = DeltaTable(location)
        newest = table.version()
        if wanted is not None and wanted > newest:
            raise LineageUnknown(f"{reference}: the newest version of that table is {newest}")
        if wanted is not None and wanted != newest:
            table.load_as_version(wanted)
        actions = table.get_add_actions(flatten=True)
        files = sorted(zip(actions["path"].to_pylist(), actions["size_bytes"].to_pylist(), strict=True))
        metadata, schema = table.metadata(), table.schema().to_json()
        history = table.history(1)
    except TableNotFoundError as error:
        raise LineageUnknown(f"{reference}: there is no Delta table at {location}") from error
    except (DeltaError, OSError) as error:
        reason = str(error).partition("\n")[0]
        raise StateUnavailable(f"{reference}: the table at {location} cannot be read: {reason}") from error
    version = str(table.version())
    return Lineage(
        source=str(reference),
        version=version,
        datasets=(
            Dataset(
                name=metadata.name or reference.name,
                version=version,
                digest=fields.digest_of([str(metadata.id), files]),
                location=fields.location(table.table_uri),
            ),
        ),
        schema=fields.digest_of(schema),
        created=fields.milliseconds(history[0], "timestamp") if history else None,
    )
