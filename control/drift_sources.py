"""Where profiles come from: a file of training data, or the data that a version's lineage names.

A file that changes is another reference: it is known by the digest of its contents. Of its columns those
count that requests have, so that a column of labels, or of ids, is no feature that went missing.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from control.lineage import Held
from domain.errors import GateError
from gates.files import Cell, Files, Table
from monitoring.drift.profile import FEATURE, Profile, profile
from monitoring.log.record import Value
from settings.drift import LEARNED, LINEAGE

TRAINING = "training"
_SHA256 = re.compile(r"(?:sha256[:-])?([0-9a-f]{64})")
_REMOTE = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)


class Source(NamedTuple):
    """One place. `origin` is for people; `path` is what is read, None where it is learned.

    `digest`: what the file's SHA-256 has to be, where that is known.
    """

    origin: str
    path: str | None
    digest: str = ""


class Found(NamedTuple):
    """A file that was read: its columns, and the SHA-256 of its contents."""

    table: Table
    digest: str

    def profile(self, origin: str, features: Collection[str], categories: int) -> Profile:
        """The profile of the columns that are called as `features` are. Raises ValueError without any."""
        columns = {
            FEATURE + name: [_value(cell) for cell in cells]
            for name, cells in self.table.columns.items()
            if name in features
        }
        if not columns:
            there, asked = ", ".join(list(self.table.columns)[:10]), ", ".join(sorted(features)[:10])
            unlike = f"none of its columns ({there}) is a feature of the requests ({asked or 'none'})"
            raise ValueError(f"{origin}: {unlike}")
        return profile(columns, origin, categories=categories)


def source(reference: str, held: Held) -> Source:
    """What `endpoints.NAME.drift.reference` means; `held` is the incumbent's lineage.

    Raises ValueError when its lineage names nothing that can be read here.
    """
    if reference == LEARNED:
        return Source(LEARNED, None)
    if reference != LINEAGE:
        return Source(f"file {reference}", reference)
    record = held.record
    if record is None:
        raise ValueError(f"the incumbent's lineage is not known: {held.problem or 'nothing is configured'}")
    training = next((one for one in record.datasets if one.role == TRAINING), None)
    if training is None:
        raise ValueError("the incumbent's lineage names no training data")
    named = training.name or "its training data"
    location = training.location.removeprefix("file://")
    if not location:
        raise ValueError(f"the incumbent's lineage does not say where {named} is")
    if _REMOTE.match(location):
        raise ValueError(f"{named} is at {location}: only files that this host has are read")
    known = _SHA256.fullmatch(training.digest.lower())
    return Source(f"lineage, {named}", location, "" if known is None else known[1])


def digest(found: Source) -> str:
    """The SHA-256 of the file of `found`. Raises ValueError, with the reason."""
    path = found.path or ""
    if not Path(path).is_file():
        raise ValueError(f"there is no file {path}")
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error


def read(found: Source) -> Found:
    """Read the file of `found`; it may take seconds. Raises ValueError, with the reason."""
    path = found.path or ""
    if not Path(path).is_file():
        raise ValueError(f"there is no file {path}")
    files = Files()
    try:
        table = files.table(path)
    except GateError as error:
        raise ValueError(str(error)) from error
    digest = dict(files.read_so_far)[path]
    if found.digest and digest != found.digest:
        raise ValueError(f"{path} is not what the lineage says: its SHA-256 is {digest}, not {found.digest}")
    return Found(table, digest)


def _value(cell: Cell) -> Value:
    """A cell as a request would have it: truth is 1 and 0."""
    if isinstance(cell, bool | int | float):
        return float(cell)
    return cell
