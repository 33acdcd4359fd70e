"""Reading an endpoint's guards: limits, the false-alarm rate they share, votes, and the workers' breaker."""

from __future__ import annotations

from settings import values
from settings.reader import Section
from settings.schema import DivergenceGuard, ErrorsGuard, FlipsGuard, GuardSettings, LatencyGuard

LIMIT = values.fraction("0.001%", "90%")
"""A limit on a mean in [0, 1]. At 0 every event is a breach, at 1 none ever is: neither can be judged."""

_FALSE_ALARM = values.fraction("0.0000001%", "49%")
_LATER = (("confidence", "shift"), ("classes", "shift"), ("drift", "shift"), ("accuracy", "drop"))
_RATIO = values.number(1.0, 100.0)
_WINDOW = values.duration("1s", "1d")
_ERRORS = values.whole(0, 10_000)
_SLO = values.duration("1ms", "1h")


def guards(section: Section) -> GuardSettings:
    """The guards; those that this version does not watch yet are validated and noted as inert."""
    defaults = GuardSettings()
    found = GuardSettings(
        false_alarm=section.take("false_alarm", _FALSE_ALARM, defaults.false_alarm),
        vote_window=_vote_window(section, defaults.vote_window),
        divergence=_divergence(section.optional("divergence")),
        flips=_flips(section.optional("flips")),
        errors=_errors(section.optional("errors")),
        latency=_latency(section.optional("latency")),
        breaker=section.section("breaker").take("consecutive_errors", _ERRORS, defaults.breaker),
    )
    for guard, limit in _LATER:
        later = section.optional(guard)
        if later is not None:
            _limit(later, limit)
            section.inert(guard)
    return found


def _vote_window(section: Section, default: float) -> float:
    vote = section.section("vote")
    per = vote.take("per", values.choice("unit", "pair"), "unit")
    window = vote.take("window", _WINDOW, default)
    if per == "unit":
        return window
    if vote.holds("window"):
        vote.refuse("window", vote.given("window"), "with 'per: pair' every pair votes; leave the window out")
    return 0.0


def _limit(section: Section, key: str) -> float | None:
    return section.need(key, LIMIT, "the limit, such as 1%; without one, leave the guard out")


def _divergence(section: Section | None) -> DivergenceGuard | None:
    mean = None if section is None else _limit(section, "mean")
    return None if mean is None else DivergenceGuard(mean)


def _flips(section: Section | None) -> FlipsGuard | None:
    rate = None if section is None else _limit(section, "rate")
    return None if rate is None else FlipsGuard(rate)


def _errors(section: Section | None) -> ErrorsGuard | None:
    excess = None if section is None else _limit(section, "excess")
    return None if excess is None else ErrorsGuard(excess)


def _latency(section: Section | None) -> LatencyGuard | None:
    if section is None:
        return None
    defaults = LatencyGuard()
    found = LatencyGuard(
        p95_ratio=section.take("p95_ratio", _RATIO, None),
        p99_ratio=section.take("p99_ratio", _RATIO, None),
        slo=section.take("slo", _SLO, None),
        slo_rate=section.take("slo_rate", LIMIT, defaults.slo_rate),
    )
    if section.holds("slo_rate") and not section.holds("slo"):
        section.refuse("slo_rate", section.given("slo_rate"), "a rate needs its slo, such as 200ms")
    if not any(section.holds(key) for key in ("p95_ratio", "p99_ratio", "slo", "slo_rate")):
        section.refuse("slo", None, "give p95_ratio, p99_ratio or slo, or leave the guard out")
    return found
