"""Reading what the drift of an endpoint is measured against: `endpoints.NAME.drift`."""

from __future__ import annotations

import math

from settings import values
from settings.guards import least_learned
from settings.reader import Section
from settings.schema import DriftGuard, DriftSettings, EndpointLog

LEARNED, LINEAGE = "learned", "lineage"
MOST_LEARNED = 10_000
"""Requests that are kept while a profile is learned."""
MOST_RANGES = 256

_reference = values.text(1024)
_feature = values.text(128)


def drift(section: Section, guard: DriftGuard | None, log: EndpointLog) -> DriftSettings:
    """What stands under an endpoint's `drift`; `guard` and `log` are the endpoint's.

    A reference file of the guard is the profile's, too, unless that names another one.
    """
    given = section.section("drift")
    defaults = DriftSettings()
    found = DriftSettings(
        reference=given.take("reference", _reference, None) or (guard and guard.reference) or LEARNED,
        learn=given.take("learn", values.whole(100, MOST_LEARNED), defaults.learn),
        over=given.take("over", values.duration("0s", "7d"), defaults.over),
        categories=given.take("categories", values.whole(1, 200), defaults.categories),
        ranges=given.pairs("ranges", _feature, _range),
    )
    if len(found.ranges) > MOST_RANGES:
        given.refuse("ranges", f"{len(found.ranges)} features", f"name at most {MOST_RANGES}")
    learned = found.reference == LEARNED
    for key in ("learn", "over"):
        if not learned and given.holds(key):
            where = f"nothing is learned where the reference is {found.reference!r}; leave one of them out"
            given.refuse(key, given.given(key), where)
    if section.holds("drift") and log.share == 0:
        unseen = "drift is seen in the prediction log, and log.records is off; leave one of them out"
        section.refuse("drift", section.given("drift"), unseen)
    if guard is not None and learned and log.share and found.learn < (least := least_learned(guard.shift)):
        said = guard.reference is None and guard.learn < least and not given.holds("learn")  # by the guard
        if said:
            return found
        if given.holds("learn") or least > MOST_LEARNED:
            off = f"{300 / math.sqrt(found.learn):.2g}%"
            way_out = f"learn from {least}" if least <= MOST_LEARNED else "give a reference file"
            given.refuse(
                "learn", found.learn,
                f"a profile learned from so many may itself be off by {off}, more than guards.drift.shift "
                f"allows: {way_out}, or allow more",
            )  # fmt: skip
        else:
            found = DriftSettings(found.reference, least, found.over, found.categories, found.ranges)
    return found


def _range(value: object) -> tuple[float, float]:
    number = values.number(-1e100, 1e100)
    if isinstance(value, list) and len(value) == 2:
        low, high = number(value[0]), number(value[1])
        if low <= high:
            return low, high
    raise ValueError("write the least and the largest number that it may be, such as [0, 100]")
