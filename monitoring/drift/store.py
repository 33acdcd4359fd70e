"""Profiles and hours in the database. Replicas that share it share profiles, and each keeps its own hours."""

from __future__ import annotations

from typing import NamedTuple

import msgspec
from sqlalchemy import Connection, delete, insert, select, update

from monitoring.drift import hour as hours
from monitoring.drift.hour import Hour
from monitoring.drift.profile import Profile
from storage.tables import DRIFT_HOURS, DRIFT_PROFILES

_P, _H = DRIFT_PROFILES.c, DRIFT_HOURS.c


class Adopted(NamedTuple):
    """A profile that is measured against: from which source, and since when (seconds since 1970)."""

    profile: Profile
    digest: str
    source: str
    at: float


def current(on: Connection, endpoint: str, source: str) -> Adopted | None:
    """The newest profile of `endpoint` from `source` that is not retired. Raises ValueError for damage."""
    row = on.execute(
        select(_P.digest, _P.at, _P.document)
        .where(_P.endpoint == endpoint, _P.source == source, _P.retired.is_(None))
        .order_by(_P.position.desc())
        .limit(1)
    ).one_or_none()
    if row is None:
        return None
    try:
        found = msgspec.msgpack.decode(bytes(row.document), type=Profile)
    except (msgspec.MsgspecError, ValueError) as error:
        raise ValueError(f"the profile of {endpoint} cannot be read: {error}") from error
    return Adopted(found, row.digest, source, row.at)


def adopt(on: Connection, endpoint: str, adopted: Adopted, replica: str) -> Adopted:
    """Measure against this from now on, unless another replica was first; which one it is then."""
    there = current(on, endpoint, adopted.source)
    if there is not None:
        return there
    on.execute(
        insert(DRIFT_PROFILES).values(
            endpoint=endpoint,
            source=adopted.source,
            digest=adopted.digest,
            at=adopted.at,
            replica=replica,
            document=msgspec.msgpack.encode(adopted.profile),
            retired=None,
        )
    )
    return adopted


def retire(on: Connection, endpoint: str, source: str, at: float) -> int:
    """Measure against none of `source` any more; how many there were."""
    return int(
        on.execute(
            update(DRIFT_PROFILES)
            .where(_P.endpoint == endpoint, _P.source == source, _P.retired.is_(None))
            .values(retired=at)
        ).rowcount
    )


def add(on: Connection, endpoint: str, digest: str, replica: str, hour: int, found: Hour) -> None:
    """Add counts to what this replica kept of that hour. Unreadable counts are replaced."""
    mine = (_H.endpoint == endpoint, _H.profile == digest, _H.replica == replica, _H.hour == hour)
    kept = on.execute(select(_H.document).where(*mine)).scalar()
    whole = found
    if kept is not None:
        try:
            whole = hours.total(found.profile, [hours.restored(found.profile, bytes(kept)), found])
        except ValueError:
            whole = found
        on.execute(update(DRIFT_HOURS).where(*mine).values(document=whole.keep()))
        return
    on.execute(
        insert(DRIFT_HOURS).values(
            endpoint=endpoint, profile=digest, replica=replica, hour=hour, document=whole.keep()
        )
    )


def between(on: Connection, endpoint: str, digest: str, first: int, last: int) -> list[tuple[int, bytes]]:
    """What all replicas kept of the hours from `first` to `last`, both included, for `hour.restored`."""
    query = (
        select(_H.hour, _H.document)
        .where(_H.endpoint == endpoint, _H.profile == digest, _H.hour >= first, _H.hour <= last)
        .order_by(_H.hour)
    )
    return [(row.hour, bytes(row.document)) for row in on.execute(query)]


def prune(on: Connection, before: int) -> int:
    """Forget the hours before `before`; how many were forgotten."""
    return int(on.execute(delete(DRIFT_HOURS).where(_H.hour < before)).rowcount)
