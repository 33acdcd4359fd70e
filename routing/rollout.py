"""How many units a flag exposes, where that is one figure."""

from __future__ import annotations

from functools import lru_cache

from domain.errors import ConfigError
from domain.routing import FULL_WEIGHT
from routing.document import parse


@lru_cache(maxsize=64)
def rollout(document: bytes, flag: str) -> int | None:
    """The percentage of `flag` whose only strategy is a gradual rollout; None for any other flag.

    Constraints may expose fewer, never more.
    """
    try:
        found = parse(document, {flag}).flags.get(flag)
    except ConfigError:
        return None
    if found is None or [one.name for one in found.strategies] != ["flexibleRollout"]:
        return None
    given = found.strategies[0].parameters.get("rollout", "")
    return int(given) if given.isascii() and given.isdigit() else None


def own_weight(document: bytes, flag: str, weight: int) -> int:
    """Basis points that are left to us where Unleash's rollout is to follow the plan's `weight`.

    Everything, once the rollout in force is no larger than the plan allows: the flag draws the units then.
    Until it is, or when somebody has set it higher, the plan's own weight holds as well.
    """
    share = rollout(document, flag)
    return FULL_WEIGHT if share is not None and share * 100 <= weight else weight
