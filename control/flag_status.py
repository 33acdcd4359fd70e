"""The state of the flags' source, as the admin API shows it."""

from __future__ import annotations

from control.lookupdesk import LookupDesk
from control.panel import Panel
from control.unleashdesk import UnleashDesk


def flag_status(panel: Panel) -> dict[str, object]:
    """Source, condition, generation; for Unleash also where, ages in seconds, missing flags, write-backs."""
    platform = panel.flags
    shown: dict[str, object] = {
        "source": platform.source or "none",
        "condition": platform.condition(),
        "problem": platform.stale,
        "generation": panel.switchboard.snapshot.generation,
    }
    desk = platform.unleash
    if desk is not None:
        shown["unleash"] = _unleash(desk)
        ended = panel.write_back.last
        shown["write_backs"] = [ended[flag].shown() for flag in sorted(ended)]
        last = panel.rollouts.last
        shown["rollouts"] = [last[endpoint].shown() for endpoint in sorted(last)]
    if platform.lookup is not None:
        shown["openfeature"] = _openfeature(platform.lookup)
    return shown


def _openfeature(desk: LookupDesk) -> dict[str, object]:
    return {
        "provider": desk.server.provider,
        "url": desk.server.url,
        "path": desk.server.path,
        "age_seconds": desk.bounds.age,
        "held": desk.held,
        "evaluations": dict(desk.evaluations),
        "problems": dict(sorted(desk.problems.items())),
    }


def _unleash(desk: UnleashDesk) -> dict[str, object]:
    server, flags = desk.server, desk.flags
    return {
        "url": server.url,
        "environment": server.environment,
        "project": server.project,
        "confirmed_seconds_ago": None if flags.heard_at is None else flags.confirmed_age,
        "changed_seconds_ago": flags.changed_age,
        "missing": sorted(flags.missing),
        "fetches": dict(flags.fetches),
        "writes_back": server.admin_token_env is not None,
    }
