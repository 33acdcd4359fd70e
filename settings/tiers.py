"""Risk tiers: named templates of how much evidence, time and agreement a release takes.

A tier is a part of an endpoint that many endpoints share: plan, watch, patience, approvals. It is written
into the document before anything is read, key by key where the endpoint has none of its own, so that what is
checked, shown, digested and recorded is the plan that is in force, never a name that means something else
tomorrow. A file's own tier of the same name stands in place of the one that is built in, whole.

| tier | for | reaches all units after at least | people who approve |
|---|---|---|---|
| low | what can be taken back without harm | 2 hours | 0 |
| standard | most models | 1 day | 0 |
| guarded | where a wrong prediction hurts, and waiting for two answers does not | 1 day | 0 |
| high | where a wrong prediction hurts, and somebody answers for it | 3 days | 2 |

Least times are only the floor: stages end by evidence.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from settings import values
from settings.promotion import ApprovalSettings
from settings.reader import Section
from settings.schema import EndpointSettings, Stage
from settings.stages import plan

Template = Mapping[str, object]

KEYS: Final = ("plan", "watch", "patience", "approvals")
"""The keys of an endpoint that a tier may give."""

MOST_PEOPLE = 10

TIERS: Final[Mapping[str, Template]] = {
    "low": {
        "plan": [
            {"mode": "shadow", "pairs": 500, "at_least": "15m"},
            {"mode": "canary", "weight": "5%", "pairs": 500, "at_least": "15m"},
            {"mode": "canary", "weight": "25%", "pairs": 1000, "at_least": "30m"},
            {"mode": "canary", "weight": "50%", "pairs": 1000, "at_least": "1h"},
        ],
        "watch": "4h",
        "patience": "1d",
    },
    "standard": {
        "plan": [
            {"mode": "shadow", "pairs": 1000, "at_least": "1h"},
            {"mode": "canary", "weight": "1%", "pairs": 500, "at_least": "2h"},
            {"mode": "canary", "weight": "10%", "pairs": 1000, "at_least": "6h"},
            {"mode": "canary", "weight": "50%", "pairs": 2000, "at_least": "15h"},
        ],
        "watch": "1d",
        "patience": "7d",
    },
    "guarded": {
        "plan": [
            {"mode": "shadow", "pairs": 1000, "at_least": "1h"},
            {"mode": "guarded", "weight": "10%", "pairs": 1000, "at_least": "5h"},
            {"mode": "guarded", "weight": "100%", "pairs": 2000, "at_least": "18h"},
        ],
        "watch": "2d",
        "patience": "7d",
    },
    "high": {
        "plan": [
            {"mode": "shadow", "pairs": 2000, "at_least": "4h"},
            {"mode": "guarded", "weight": "5%", "pairs": 1000, "at_least": "8h"},
            {"mode": "guarded", "weight": "50%", "pairs": 2000, "at_least": "12h"},
            {"mode": "canary", "weight": "1%", "pairs": 500, "at_least": "6h"},
            {"mode": "canary", "weight": "10%", "pairs": 1000, "at_least": "18h"},
            {"mode": "canary", "weight": "50%", "pairs": 2000, "at_least": "1d"},
        ],
        "watch": "3d",
        "patience": "14d",
        "approvals": {"people": 2, "valid_for": "7d"},
    },
}
"""The tiers that are built in, as a file would write them."""


def expanded(document: Mapping[str, object]) -> dict[str, object]:
    """`document` with every endpoint's tier written into it, where the endpoint has no such key of its own.

    What is no mapping, or no tier, stays as it is, for the readers to refuse. Values are shared, not copied.
    """
    own, endpoints = document.get("tiers"), document.get("endpoints")
    if not isinstance(endpoints, dict):
        return dict(document)
    known = {**TIERS, **(own if isinstance(own, dict) else {})}
    return {**document, "endpoints": {name: _filled(one, known) for name, one in endpoints.items()}}


def tiers(root: Section) -> tuple[str, ...]:
    """The names of all tiers; the file's own are read, so that what is wrong with one nobody uses is told."""
    own = root.named("tiers", tier_name)
    for _, section in own:
        plan(section)
        section.take("watch", WATCH, 0.0)
        section.take("patience", PATIENCE, None)
        approvals(section)
    return tuple(dict.fromkeys((*TIERS, *(name for name, _ in own))))


def tier_name(value: object) -> str:
    """The name of a tier."""
    name = values.text(64)(value)
    if not name.replace("-", "").replace("_", "").isalnum() or not name.isascii():
        raise ValueError("a tier's name is 1 to 64 letters, digits, - and _")
    return name


def approvals(section: Section) -> ApprovalSettings:
    """The section `approvals` of an endpoint or a tier; nobody has to approve without it."""
    part, defaults = section.section("approvals"), ApprovalSettings()
    return ApprovalSettings(
        part.take("people", values.whole(0, MOST_PEOPLE), defaults.people),
        part.take("valid_for", values.duration("1m", "90d"), defaults.valid_for),
    )


def endless(stages: tuple[Stage, ...], patience: float, watch: float, *, guarded: bool) -> str | None:
    """Why a release by this plan could never come to its end; None when it can. `guarded`: some guard is
    configured."""
    if len(stages) > 1 and not guarded:
        return "no guard is configured: nothing could say PASS, and no stage would ever end"
    if watch and not guarded:
        return "no guard is configured: nothing could say PASS, and the promotion would never come"
    for number, stage in enumerate(stages):
        if stage.at_least >= patience:
            return f"plan[{number}] lasts {stage.at_least:g} s at least, longer than the patience"
    return None


def refuse_endless(section: Section, found: EndpointSettings) -> None:
    """Keep a problem with the endpoint's tier when its release could never end."""
    why = endless(found.plan, found.patience, found.watch, guarded=found.guards.watched)
    if found.tier is not None and why is not None:
        way_out = f"give a guard or another {' or '.join(KEYS[:3])}, or leave the tier out"
        section.refuse("tier", found.tier, f"a release could never finish: {why}; {way_out}")


WATCH = values.duration("0s", "365d")
PATIENCE = values.duration("1m", "365d")


def _filled(endpoint: object, known: Mapping[str, object]) -> object:
    if not isinstance(endpoint, dict):
        return endpoint
    name = endpoint.get("tier")
    template = known.get(name) if isinstance(name, str) else None
    if not isinstance(template, dict):
        return endpoint
    given = {key: value for key, value in template.items() if key in KEYS and endpoint.get(key) is None}
    return {**endpoint, **given}
