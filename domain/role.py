"""Roles: what somebody may do, on which endpoints.

Each role may do all that the one below it may. A kill takes traffic away and never needs more than
`OPERATOR`; whatever gives a candidate traffic needs `RELEASE`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Self

EVERYWHERE = "*"
"""Stands for every endpoint, and for what belongs to none."""


class Role(IntEnum):
    """`NOBODY` is whoever reaches the admin API, known or not."""

    NOBODY = 0
    VIEWER = 1
    OPERATOR = 2
    RELEASE = 3
    ADMIN = 4

    @property
    def word(self) -> str:
        """How it is written.

        >>> Role.RELEASE.word
        'release'
        """
        return self.name.lower()


ROLES: Mapping[str, Role] = {role.word: role for role in Role if role}
"""The roles that somebody can be given, by how they are written."""


@dataclass(frozen=True, slots=True)
class Grants:
    """Roles by endpoint; `EVERYWHERE` holds on each endpoint, and where nothing names one."""

    roles: Mapping[str, Role] = field(default_factory=dict)

    @classmethod
    def everywhere(cls, role: Role) -> Self:
        """`role` on every endpoint."""
        return cls({EVERYWHERE: role})

    def on(self, endpoint: str | None = None) -> Role:
        """The role on `endpoint`; None: where no endpoint is named.

        >>> Grants({"*": Role.VIEWER, "rain": Role.OPERATOR}).on("rain").word
        'operator'
        """
        whole = self.roles.get(EVERYWHERE, Role.NOBODY)
        return whole if endpoint is None else max(whole, self.roles.get(endpoint, Role.NOBODY))

    @property
    def highest(self) -> Role:
        """The highest role on any endpoint."""
        return max(self.roles.values(), default=Role.NOBODY)

    def with_these(self, other: Grants) -> Grants:
        """What either gives."""
        names = {*self.roles, *other.roles}
        mine, theirs = self.roles, other.roles
        return Grants(
            {one: max(mine.get(one, Role.NOBODY), theirs.get(one, Role.NOBODY)) for one in sorted(names)}
        )
