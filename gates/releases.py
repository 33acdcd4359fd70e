"""Releases in the durable database: each step is taken once, by whoever leads.

A step is written together with its number. Whoever wants to take it shows where the release stands for him,
and his fencing token: when the release has gone on meanwhile, or a step was taken with a higher token,
nothing is written. So neither a process that was stopped and woke up late nor two that believe to lead can
take a step twice, or undo one (Kleppmann, "How to do distributed locking", 2016).
"""

from __future__ import annotations

from dataclasses import asdict, fields

import orjson
from sqlalchemy import Connection, func, insert, select, update

from domain.errors import PointsmanError
from gates.release import Phase, Release, Trigger
from storage.tables import RELEASE_STEPS, RELEASES

_KNOWN = frozenset(one.name for one in fields(Release))


class StaleStep(PointsmanError):  # noqa: N818 - named after what was refused
    """The release is elsewhere by now, or somebody else leads."""


class AlreadyOpen(PointsmanError):  # noqa: N818 - named after what was refused
    """The endpoint has an open release."""


def open_release(on: Connection, release: Release, token: int) -> None:
    """Keep a new release. Raises AlreadyOpen when its endpoint has an open one."""
    taken = on.execute(select(RELEASES.c.id).where(RELEASES.c.open_at == release.endpoint)).scalar()
    if taken is not None:
        raise AlreadyOpen(f"endpoint {release.endpoint} has an open release, {taken}: abort it first")
    last = on.execute(select(func.max(RELEASES.c.number))).scalar() or 0
    row = {
        "id": release.id,
        "number": last + 1,
        "endpoint": release.endpoint,
        "opened": release.opened,
        **_standing(release, token),
    }
    on.execute(insert(RELEASES), [row])


def take(on: Connection, release: Release, why: Trigger, token: int) -> None:
    """Keep the step that led to `release`. Raises StaleStep when it was taken already, or must not be."""
    number = release.steps - 1
    moved = on.execute(
        update(RELEASES)
        .where(RELEASES.c.id == release.id, RELEASES.c.steps == number, RELEASES.c.token <= token)
        .values(**_standing(release, token))
    )
    if moved.rowcount != 1:
        raise StaleStep(f"step {number} of release {release.id} was not to be taken with token {token}")
    document = orjson.dumps({"trigger": why.name.lower(), **_document(release)})
    row = {"release": release.id, "number": number, "at": release.since, "token": token, "document": document}
    on.execute(insert(RELEASE_STEPS), [row])


def newest(on: Connection) -> dict[str, Release]:
    """The release of each endpoint that was started last, by the endpoint's name."""
    newest = select(func.max(RELEASES.c.number)).group_by(RELEASES.c.endpoint)
    query = select(RELEASES.c.endpoint, RELEASES.c.document).where(RELEASES.c.number.in_(newest))
    return {row.endpoint: _release(row.document) for row in on.execute(query)}


def find(on: Connection, name: str) -> Release | None:
    """The release whose id is `name`."""
    found = on.execute(select(RELEASES.c.document).where(RELEASES.c.id == name)).scalar()
    return None if found is None else _release(found)


def listed(on: Connection, endpoint: str | None, most: int) -> tuple[Release, ...]:
    """The `most` newest releases, of one endpoint or of all, newest first."""
    query = select(RELEASES.c.document).order_by(RELEASES.c.number.desc()).limit(most)
    if endpoint is not None:
        query = query.where(RELEASES.c.endpoint == endpoint)
    return tuple(_release(found) for found in on.execute(query).scalars())


def steps(on: Connection, name: str) -> tuple[dict[str, object], ...]:
    """Every step of the release whose id is `name`, in order."""
    query = (
        select(RELEASE_STEPS.c.document)
        .where(RELEASE_STEPS.c.release == name)
        .order_by(RELEASE_STEPS.c.number)
    )
    return tuple(orjson.loads(found) for found in on.execute(query).scalars())


def _standing(release: Release, token: int) -> dict[str, object]:
    return {
        "open_at": release.endpoint if release.phase.is_open else None,
        "steps": release.steps,
        "token": token,
        "document": orjson.dumps(_document(release)),
    }


def _document(release: Release) -> dict[str, object]:
    return {**asdict(release), "phase": release.phase.value}


def _release(document: bytes) -> Release:
    # During an upgrade a newer version may say more of a release than is known here.
    found = {key: value for key, value in orjson.loads(document).items() if key in _KNOWN}
    return Release(**{**found, "phase": Phase(found["phase"])})
