"""Who asks the admin API for something, and how that is known.

Routes make an `Identity` and hand it on; whatever decides, and whatever is recorded, knows nothing else of a
request. This version has no authentication: only loopback reaches the admin API, and a name is what the
caller says it is. That is kept as `claimed` beside the name, in the audit chain and with each approval, so
that nobody reads more into it. Authentication will make identities of another kind here, and nowhere else.
"""

from __future__ import annotations

from typing import NamedTuple

from control.trip import OPERATOR
from gates.approvals import person

CLAIMED = "claimed"


class Identity(NamedTuple):
    """`authentication`: how `name` was established; "" for nobody in particular."""

    name: str
    authentication: str


NOBODY = Identity(OPERATOR, "")
"""Somebody who reached the admin API and gave no name."""


def claimed(name: str | None) -> Identity:
    """Whoever says to be `name`. Raises ConfigError when that is no person's name."""
    return NOBODY if name is None else Identity(person(name), CLAIMED)
