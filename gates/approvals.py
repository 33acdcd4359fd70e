"""Approvals: people who say that a release may begin, beside its gates and never in place of one.

An approval is of one thing only: this attempt of this release, these versions, gates and configuration.
Whatever changes, the approval is of something else, and counts no more; nothing has to remember to revoke it.
It expires. Two approvals of one person are one, and who started a release is no second pair of eyes on it.

A person is a name. How the name was established (`claimed`: whoever reached the admin API said so) is kept
with the approval and decides nothing here.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

from domain.errors import ConfigError, PointsmanError
from gates.release import Release

_PERSON = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,63}")
_NOBODY = frozenset({"operator", "plan", "process", "registry", "flags"})
"""Actors of the audit chain that are no person."""


class ApprovalRefused(PointsmanError):  # noqa: N818 - named after what was refused
    """The approval cannot be given; the message says why."""


@dataclass(frozen=True, slots=True)
class Approval:
    """One person's word.

    Attributes:
        subject: what was approved, by `subject_digest`.
        by: the person's name, as `person` writes it.
        authentication: how the name was established.
        at: wall clock, seconds since the epoch.
    """

    release: str
    subject: str
    by: str
    authentication: str
    reason: str
    at: float


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far people agree. `given`: the approvals that count, one a person; `void`: why others do not."""

    people: int
    given: tuple[Approval, ...] = ()
    void: tuple[tuple[str, str], ...] = ()

    @property
    def missing(self) -> int:
        """How many people have to approve yet."""
        return max(0, self.people - len(self.given))


def person(name: str) -> str:
    """How the name of a person is written, so that nobody is two by spelling it otherwise.

    Raises ConfigError when it is none.

    >>> person("Ada@Example.org")
    'ada@example.org'
    """
    written = name.lower() if name.isascii() else ""
    if not _PERSON.fullmatch(written) or written in _NOBODY:
        allowed = (
            "give a person's name: 1 to 64 ASCII letters, digits and . _ @ + -, such as ada, and none of "
        )
        raise ConfigError("as", name[:80], allowed + ", ".join(sorted(_NOBODY)))
    return written


def subject_digest(release: Release, configuration: str) -> str:
    """SHA-256 (hex) of what there is to approve; `configuration` is the configuration digest."""
    parts = [
        release.id, release.attempt, release.endpoint, release.incumbent_digest, release.candidate_digest,
        release.gates, configuration,
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(parts, separators=(",", ":")).encode()).hexdigest()


def agreement(
    approvals: Iterable[Approval],
    release: Release,
    configuration: str,
    people: int,
    valid_for: float,
    now: float,
) -> Agreement:
    """What `approvals` say of `release` as it is at `now`, where `people` have to approve."""
    subject = subject_digest(release, configuration)
    given: dict[str, Approval] = {}
    void: dict[str, str] = {}
    for one in approvals:
        reason = _void(one, release, subject, valid_for, now)
        if reason is None:
            given.setdefault(one.by, one)
        else:
            void[one.by] = reason
    others = tuple((by, reason) for by, reason in void.items() if by not in given)
    return Agreement(people, tuple(given.values()), others)


def _void(one: Approval, release: Release, subject: str, valid_for: float, now: float) -> str | None:
    if one.release != release.id:
        return "it is of another release"
    if one.by == release.by:
        return "who started a release does not approve it"
    if one.subject != subject:
        return "the versions, the gates, the configuration or the attempt are others now"
    if not 0.0 <= now - one.at <= valid_for:
        return "it has expired" if now > one.at else "it is from the future"
    return None
