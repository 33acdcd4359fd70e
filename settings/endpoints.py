"""Reading one endpoint."""

from __future__ import annotations

import re
from collections.abc import Sequence

from domain.routing import FULL_WEIGHT, Mode
from domain.snapshot import ShadowLimits, UnitKind, UnitSource
from settings import units, values
from settings.compare import compare as comparison
from settings.drift import drift
from settings.drills import drills
from settings.follow import follow
from settings.gates import gates, metrics_place
from settings.guards import guards
from settings.notifications import retraining
from settings.prediction_log import endpoint_log
from settings.promotion import WEEK
from settings.reach import reachable
from settings.reader import Section
from settings.registries import RegistrySettings
from settings.registry import lineage
from settings.schema import (
    DRIVEN_BY_PLAN,
    DRIVEN_BY_UNLEASH,
    CohortKind,
    CohortSource,
    EndpointSettings,
    Stage,
)
from settings.stages import plan
from settings.tiers import PATIENCE, TIERS, WATCH, approvals, refuse_endless
from settings.upstreams import version

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_UNRELEASED = "what is followed is released by evidence: give gates, a watch, approvals or a tier"
_FEATURE = re.compile(r"feature:([A-Za-z0-9_.-]{1,64})")
_MOST_COHORTS = 16
_RESERVED_CONTEXT = frozenset({"userId", "remoteAddress", "environment", "appName", "currentTime"})
_PROTOCOL = values.choice("v2", "mlflow", "tfserving", "seldon", "openai", "json")


def endpoint_name(value: object) -> str:
    """A name that can stand in a URL and in a metric's label."""
    if isinstance(value, str) and _NAME.fullmatch(value):
        return value
    raise ValueError("an endpoint's name is 1 to 64 letters, digits, _ . - and starts with a letter or digit")


def endpoint(
    name: str,
    section: Section,
    registries: RegistrySettings,
    *,
    has_flags: bool,
    tiers: Sequence[str] = tuple(TIERS),
) -> EndpointSettings | None:
    """The endpoint; None, with problems kept, when something is missing that has no default.

    `registries` are those that its versions may refer to; `has_flags` says whether there is a file or a
    server that a flag could stand in; `tiers` are the tiers there are, its own is written into it already.
    """
    path = section.need("path", values.path, "the path that clients call, such as /v2/models/rain/infer")
    protocol = section.need("protocol", _PROTOCOL, "how payloads are written, such as v2 or json")
    unit = section.need("unit", unit_source, "what an assignment sticks to, such as header:x-user-id")
    incumbent_section = section.required("incumbent", "the trusted version: {version: ..., urls: [...]}")
    candidate_section = section.optional("candidate")
    incumbent = None if incumbent_section is None else version(incumbent_section)
    candidate = None if candidate_section is None else version(candidate_section)
    incumbent_lineage = () if incumbent_section is None else lineage(incumbent_section, registries)
    candidate_lineage = () if candidate_section is None else lineage(candidate_section, registries)
    incumbent_metrics = None if incumbent_section is None else _metrics(incumbent_section)
    candidate_metrics = None if candidate_section is None else _metrics(candidate_section)
    if candidate_section and incumbent and candidate and candidate.name == incumbent.name:
        candidate_section.refuse("version", candidate.name, "name another version than the incumbent's")
    compare_section = section.required("compare", "how to compare, such as {kind: classification}")
    compare = None if compare_section is None else comparison(compare_section, protocol)
    defaults = ShadowLimits()
    timeout = section.take("timeout", values.duration("1ms", "1h"), 2.0)
    max_body = section.take("max_body", values.size("1B", "1GiB"), 8 * 1024 * 1024)
    idempotent = section.take("idempotent", values.boolean, False)
    max_in_flight = section.take("max_in_flight", values.whole(1, 1_000_000), None)
    adaptive = section.take("adaptive", values.boolean, False)
    flag = section.take("flag", values.text(100), None)
    if flag is not None and not has_flags:
        section.refuse(
            "flag",
            flag,
            "there are no flags: give flags.path or flags.unleash, or leave this out to expose everybody",
        )
    context = section.pairs("context", _context_field, values.header_name)
    mirroring, limits = section.section("shadow"), section.section("guards")
    shadow = _shadow(mirroring, defaults)
    cohorts = _cohorts(section)
    stages = plan(section)
    logged = endpoint_log(section, protocol)
    drive = section.take("drive", values.choice(DRIVEN_BY_PLAN, DRIVEN_BY_UNLEASH), DRIVEN_BY_PLAN)
    mirrored = shadow.share > 0
    paired = mirrored or any(stage.mode is Mode.GUARDED for stage in stages)
    watched = guards(limits, noisy=paired and shadow.noise_share > 0, mirrored=mirrored)
    reachable(mirroring, stages, watched)
    if protocol == "openai" and watched.drift is not None:
        limits.refuse("drift", limits.given("drift"), "a request for a text has no features; leave it out")
    criteria = gates(section.section("gates"), protocol)
    watch = section.take("watch", WATCH, 0.0)
    patience = _patience(section, stages)
    agreed = approvals(section)
    tier = section.take("tier", values.choice(*tiers), None)
    followed = follow(section, registries)
    retrain = retraining(section, watched)
    rehearsed = drills(section)
    profiled = drift(section, watched.drift, logged)
    if path is None or protocol is None or unit is None or incumbent is None or compare is None:
        return None
    found = EndpointSettings(
        name=name,
        path=path,
        protocol=protocol,
        unit=unit,
        incumbent=incumbent,
        compare=compare,
        candidate=candidate,
        context=context,
        timeout=timeout,
        max_body=max_body,
        idempotent=idempotent,
        max_in_flight=max_in_flight,
        adaptive=adaptive,
        flag=flag,
        shadow=shadow,
        guards=watched,
        plan=stages,
        cohorts=cohorts,
        gates=criteria,
        incumbent_lineage=incumbent_lineage,
        candidate_lineage=candidate_lineage,
        incumbent_metrics=incumbent_metrics,
        candidate_metrics=candidate_metrics,
        watch=watch,
        patience=patience,
        drive=drive,
        log=logged,
        approvals=agreed,
        tier=tier,
        follow=followed,
        drills=rehearsed,
        retrain=retrain,
        drift=profiled,
    )
    refuse_endless(section, found)
    if followed is not None and not found.released:
        section.refuse("follow", section.given("follow"), _UNRELEASED)
    return found


def _metrics(section: Section) -> str | None:
    return section.take("metrics", metrics_place, None)


def unit_source(value: object) -> UnitSource:
    """`header:NAME`, `body:/json/pointer` or `request`."""
    if value == "request":
        return UnitSource(UnitKind.REQUEST)
    if isinstance(value, str) and value.startswith("header:"):
        return UnitSource(UnitKind.HEADER, values.header_name(value))
    if isinstance(value, str) and value.startswith("body:"):
        return UnitSource(UnitKind.BODY, values.pointer(value.removeprefix("body:")))
    raise ValueError("write header:NAME, body:/json/pointer or request")


def _context_field(value: object) -> str:
    field = values.text(64)(value)
    if field in _RESERVED_CONTEXT:
        raise ValueError(f"{field} is set by the gateway itself; map sessionId or a property of your own")
    return field


def _shadow(section: Section, defaults: ShadowLimits) -> ShadowLimits:
    return ShadowLimits(
        share=section.take("share", units.basis_points, FULL_WEIGHT),
        max_in_flight=section.take("max_in_flight", values.whole(1, 65_536), defaults.max_in_flight),
        max_bytes=section.take("max_bytes", values.size("1KiB", "64GiB"), defaults.max_bytes),
        noise_share=section.take("noise_share", units.basis_points, defaults.noise_share),
    )


def _patience(section: Section, stages: tuple[Stage, ...]) -> float:
    patience = section.take("patience", PATIENCE, WEEK)
    longest = max((stage.at_least for stage in stages), default=0.0)
    if longest >= patience and section.holds("patience"):
        lasts = (
            f"a stage lasts {longest:g} s at least, so that the release would never finish: be more patient"
        )
        section.refuse("patience", section.given("patience"), lasts)
    return max(patience, longest + WEEK) if longest >= patience else patience


def _cohorts(section: Section) -> tuple[CohortSource, ...]:
    found = section.each("cohorts", _cohort)
    if len(found) > _MOST_COHORTS:
        section.refuse("cohorts", section.given("cohorts"), f"name at most {_MOST_COHORTS}")
    elif len(set(found)) < len(found):
        section.refuse("cohorts", section.given("cohorts"), "name each once")
    return found


def _cohort(value: object) -> CohortSource:
    if isinstance(value, str) and value.startswith("header:"):
        return CohortSource(CohortKind.HEADER, values.header_name(value))
    if isinstance(value, str) and (feature := _FEATURE.fullmatch(value)):
        return CohortSource(CohortKind.FEATURE, feature[1])
    raise ValueError("write header:NAME, or feature:NAME or feature:INDEX")
