"""Reading how a worker treats the servers of a version: bounds, health, ejection, TLS."""

from __future__ import annotations

from domain.routing import ConnectionLimits, Ejection, HealthCheck, Policy, Trust
from settings import units, values
from settings.reader import Section

_LONGEST_FILE = 1024


def policy(version: Section) -> Policy:
    """What `version` says of its servers; the defaults where it says nothing."""
    defaults = Policy()
    return Policy(
        connections=_connections(version.section("connections"), defaults.connections),
        health=_health(version.optional("health")),
        ejection=_ejection(version.section("ejection"), defaults.ejection),
        trust=_trust(version.section("tls")),
        slow_start=version.take("slow_start", values.duration("0s", "1h"), defaults.slow_start),
        resolve=version.take("resolve", values.duration("1s", "1d"), defaults.resolve),
    )


def _connections(section: Section, defaults: ConnectionLimits) -> ConnectionLimits:
    return ConnectionLimits(
        max=section.take("max", values.whole(1, 65_536), defaults.max),
        pending=section.take("pending", values.whole(1, 65_536), defaults.pending),
        uploads=section.take("uploads", values.fraction("1%", "100%"), defaults.uploads),
        connect_timeout=section.take(
            "connect_timeout", values.duration("10ms", "1m"), defaults.connect_timeout
        ),
    )


def _health(section: Section | None) -> HealthCheck | None:
    if section is None:
        return None
    defaults = HealthCheck("/")
    path = section.need("path", values.path, "what a ready server answers with 2xx, such as /v2/health/ready")
    check = HealthCheck(
        path=path or defaults.path,
        every=section.take("every", values.duration("100ms", "1h"), defaults.every),
        timeout=section.take("timeout", values.duration("10ms", "1m"), defaults.timeout),
        healthy=section.take("healthy", values.whole(1, 100), defaults.healthy),
        unhealthy=section.take("unhealthy", values.whole(1, 100), defaults.unhealthy),
    )
    return None if path is None else check


def _ejection(section: Section, defaults: Ejection) -> Ejection:
    longest = section.take("longest", values.duration("1s", "1d"), defaults.longest)
    pause = section.take("pause", values.duration("1s", "1h"), min(defaults.pause, longest))
    if longest < pause:
        section.refuse("pause", section.given("pause"), f"it cannot be longer than 'longest', {longest:g}s")
    return Ejection(
        consecutive_errors=section.take(
            "consecutive_errors", values.whole(0, 10_000), defaults.consecutive_errors
        ),
        pause=pause,
        longest=longest,
        share=section.take("share", values.fraction("0%", "100%"), defaults.share),
    )


def _trust(section: Section) -> Trust:
    file = values.text(_LONGEST_FILE)
    found = Trust(
        ca=section.take("ca", file, None),
        certificate=section.take("certificate", file, None),
        key=section.take("key", file, None),
        server_name=section.take("server_name", _server_name, None),
    )
    if section.holds("key") and not section.holds("certificate"):
        section.refuse("key", section.given("key"), "a key goes with its certificate; give that as well")
    return found


def _server_name(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("write the name that the server's certificate carries")
    try:
        return units.host(value)
    except ValueError as error:
        raise ValueError(f"write the name that the server's certificate carries: {error}") from error
