"""How accurate each version is, told from what labels add up to.

Everybody's figures are kept by the hour, those of cohorts by the day (UTC): a stretch of time that is asked
for begins and ends with one of those. What stands in `/metrics` is of the last `RECENT` seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

from audit import times
from audit.times import iso, micros
from control.clock import Clock
from control.labelling import LabelDesk
from control.switchboard import Switchboard
from domain.errors import ConfigError, StateUnavailable
from monitoring.labels.figures import Tally, figures, together
from monitoring.labels.store import DAY, HOUR, Key, LabelStore
from monitoring.labels.truths import Kind

RECENT = 7 * DAY
MOST_GROUPS = 2_000
"""Groups of one answer."""
HOURLY = 4 * DAY
"""Stretches up to which by time means by the hour."""
LOOK = 1.0
REFRESH = 60.0
"""Seconds after which the figures in `/metrics` are worked out again though no label came."""
LONG = ("classes", "confusion", "calibration")
"""What is told of few groups only."""
FEW = 40

Group = tuple[str, str, int]
"""Version, cohort and where its stretch begins; "" and 0 where it is not asked for."""


class By(StrEnum):
    """What accuracy can be told by."""

    VERSION = "version"
    COHORT = "cohort"
    TIME = "time"


class Shown(NamedTuple):
    """What stands in `/metrics` of one version and cohort ("" is everybody)."""

    endpoint: str
    version: str
    cohort: str
    figures: Mapping[str, object]


class AccuracyDesk:
    """Answers for every endpoint. `recent`: what stands in `/metrics`, as it was worked out last."""

    def __init__(self, switchboard: Switchboard, labels: LabelDesk, clock: Clock) -> None:
        self.recent: list[Shown] = []
        self._board = switchboard
        self._labels = labels
        self._clock = clock
        self._refreshed = -REFRESH
        self._changed = True
        labels.react(self._change)

    async def tell(
        self, endpoint: str, by: Iterable[str], since: str | None, until: str | None
    ) -> dict[str, object]:
        """Figures of an endpoint, by version, cohort and time. Raises UnknownEndpoint, ConfigError and
        StateUnavailable."""
        self._board.judge(endpoint)  # raises UnknownEndpoint
        kind = self._labels.kinds()[endpoint]
        wanted = _wanted(by)
        first, last = self._stretch(since, until)
        width = DAY if By.COHORT in wanted or last - first > HOURLY else HOUR
        if By.COHORT in wanted:
            first, last = first // DAY * DAY, -(-last // DAY) * DAY
        cells = await self._labels.read(
            lambda store: store.cells(endpoint, first, last, cohorts=By.COHORT in wanted)
        )
        groups: dict[Group, list[Tally]] = {}
        for key, tally in cells:
            groups.setdefault(_group(key, wanted, width), []).append(tally)
        if len(groups) > MOST_GROUPS:
            allowed = f"that are {len(groups)} groups, and {MOST_GROUPS} are told at once; ask for less time"
            raise ConfigError("since", since, allowed)
        told = [
            _told(group, together(tallies), wanted, width, kind) for group, tallies in sorted(groups.items())
        ]
        if len(told) > FEW:
            told = [{name: value for name, value in one.items() if name not in LONG} for one in told]
        return {
            "endpoint": endpoint,
            "kind": kind.kind,
            "by": [one.value for one in By if one in wanted],
            "since": iso(micros(first)),
            "until": iso(micros(last)),
            "groups": [one for one in told if one["labels"]],
            "failure": self._labels.failure,
        }

    def _stretch(self, since: str | None, until: str | None) -> tuple[int, int]:
        """In seconds since the epoch, whole hours."""
        now = self._clock.wall()
        last = now if until is None else _instant("until", until)
        first = last - RECENT if since is None else _instant("since", since)
        if first >= last:
            raise ConfigError("since", since, f"give a time before `until`, which is {iso(micros(last))}")
        return int(first // HOUR) * HOUR, int(-(-last // HOUR)) * HOUR

    def _change(self) -> None:
        self._changed = True

    async def run(self) -> None:
        """For ever: keep what stands in `/metrics` up to date."""
        while True:
            await asyncio.sleep(LOOK)
            try:
                await self.refresh()
            except StateUnavailable:
                continue  # told as the failure of the labels' own rounds

    async def refresh(self) -> None:
        """Work out what stands in `/metrics`, if there may be anything new. Raises StateUnavailable."""
        now = self._clock.monotonic()
        if not self._changed and now - self._refreshed < REFRESH:
            return
        self._changed, self._refreshed = False, now
        since = self._clock.wall() - RECENT
        kinds = self._labels.kinds()
        self.recent = await self._labels.read(lambda store: _recent(store, kinds, since))


def _recent(store: LabelStore, kinds: Mapping[str, Kind], since: float) -> list[Shown]:
    found = []
    for endpoint, kind in kinds.items():
        groups: dict[tuple[str, str], list[Tally]] = {}
        for (_, version, cohort, _), tally in store.cells(endpoint, since // DAY * DAY, 1e15):
            groups.setdefault((version, cohort), []).append(tally)
        for (version, cohort), tallies in groups.items():
            told = figures(together(tallies), kind.names)
            if told["labels"]:
                found.append(Shown(endpoint, version, cohort, told))
    return found


def _wanted(by: Iterable[str]) -> frozenset[By]:
    wanted = set()
    for one in by:
        try:
            wanted.add(By(one))
        except ValueError as error:
            raise ConfigError("by", one, f"use some of {', '.join(By)}, such as by=version,cohort") from error
    return frozenset(wanted)


def _instant(name: str, text: str) -> float:
    try:
        return times.parse(text) / 1e6
    except ValueError as error:
        raise ConfigError(name, text, times.ALLOWED) from error


def _group(key: Key, wanted: frozenset[By], width: int) -> Group:
    _, version, cohort, begins = key
    return (
        version if By.VERSION in wanted else "",
        cohort if By.COHORT in wanted else "",
        begins // width * width if By.TIME in wanted else 0,
    )


def _told(group: Group, tally: Tally, wanted: frozenset[By], width: int, kind: Kind) -> dict[str, object]:
    version, cohort, begins = group
    found: dict[str, object] = {}
    if By.VERSION in wanted:
        found["version"] = version
    if By.COHORT in wanted:
        found["cohort"] = cohort
    if By.TIME in wanted:
        found |= {"from": iso(micros(begins)), "to": iso(micros(begins + width))}
    return found | figures(tally, kind.names)


def split(by: str) -> Sequence[str]:
    """`version,cohort` as its parts."""
    return [one.strip() for one in by.split(",") if one.strip()]
