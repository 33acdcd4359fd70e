"""From the settings to what the workers serve from."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict

from domain.routing import Mode
from domain.snapshot import Endpoint, Lookup, Snapshot
from settings.prediction_log import recording
from settings.schema import CohortKind, EndpointSettings, Settings


def endpoint(settings: EndpointSettings, *, mode: Mode, weight: int, tripped: bool) -> Endpoint:
    """The endpoint with the release's `mode` and `weight` (basis points) and the switch's position.

    The bucket is salted with endpoint and candidate, so that another candidate is tried on other units, and
    the same candidate, after a restart or a re-arm, on the same ones.
    """
    candidate = settings.candidate
    return Endpoint(
        name=settings.name,
        path=settings.path,
        incumbent=settings.incumbent,
        candidate=candidate,
        unit=settings.unit,
        context=settings.context,
        timeout=settings.timeout,
        max_body=settings.max_body,
        flag=settings.flag,
        mode=mode,
        weight=weight,
        release="" if candidate is None else f"{settings.name}/{candidate.name}",
        tripped=tripped,
        shadow=settings.shadow,
        breaker=settings.guards.breaker,
        idempotent=settings.idempotent,
        max_in_flight=settings.max_in_flight,
        adaptive=settings.adaptive,
        cohorts=tuple(one.name for one in settings.cohorts if one.kind is CohortKind.HEADER),
        keep_request=settings.guards.drift is not None
        or any(one.kind is CohortKind.FEATURE for one in settings.cohorts),
        protocol=settings.protocol,
        compare=_comparison(settings),
        record=recording(settings),
    )


def boot(settings: Settings) -> Snapshot:
    """What a worker serves before it has heard from the control process: generation 0, incumbents only."""
    endpoints = tuple(endpoint(one, mode=Mode.SHADOW, weight=0, tripped=True) for one in settings.endpoints)
    return Snapshot(
        0,
        endpoints,
        config_digest=settings.digest,
        lookup=lookup(settings),
        environment=settings.environment,
        app_name=settings.app_name,
    )


def lookup(settings: Settings) -> Lookup | None:
    """In which bounds workers look units up; None where they decide by a flag document."""
    platform = settings.openfeature
    if platform is None:
        return None
    whole = repr((platform, settings.environment, settings.app_name))
    source = f"{platform.provider} {hashlib.sha256(whole.encode()).hexdigest()[:16]}"
    return Lookup(source, platform.age, platform.units)


def _comparison(settings: EndpointSettings) -> bytes:
    """For workers that have to compare, now or later: what it takes is loaded before it is needed."""
    if not any(stage.mode is Mode.GUARDED for stage in settings.plan):
        return b""
    return json.dumps(asdict(settings.compare)).encode()
