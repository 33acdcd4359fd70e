"""Reading an endpoint's guards: limits, the false-alarm rate they share, votes, and the workers' breaker."""

from __future__ import annotations

import math

from settings import values
from settings.reader import Section
from settings.schema import (
    AccuracyGuard,
    ClassesGuard,
    ConfidenceGuard,
    DivergenceGuard,
    DriftGuard,
    ErrorsGuard,
    FlipsGuard,
    GuardSettings,
    LatencyGuard,
)

LIMIT = values.fraction("0.001%", "90%")
"""A limit on a mean in [0, 1]. At 0 every event is a breach, at 1 none ever is: neither can be judged."""

_FALSE_ALARM = values.fraction("0.0000001%", "49%")
_CERTIFY = values.fraction("0.01%", "49%")
_CONFIDENCE = values.fraction("0.001%", "9%")
_RATIO = values.number(1.0, 100.0)
_WINDOW = values.duration("1s", "1d")
_BLOCK = values.whole(1, 1000)
_ERRORS = values.whole(0, 10_000)
_MOST_LEARNED = 10_000
_LEARN = values.whole(100, _MOST_LEARNED)
_SLO = values.duration("1ms", "1h")


def guards(section: Section, *, noisy: bool = False, mirrored: bool = True) -> GuardSettings:
    """The guards.

    `noisy`: the incumbent is asked twice for some requests; `mirrored`: requests reach both arms.
    """
    defaults = GuardSettings()
    vote = section.section("vote")
    per = vote.take("per", values.choice("unit", "pair", "row"), defaults.vote_per)
    return GuardSettings(
        false_alarm=section.take("false_alarm", _FALSE_ALARM, defaults.false_alarm),
        certify=section.take("certify", _certify, defaults.certify),
        vote_window=_vote_window(vote, per, defaults.vote_window),
        vote_per=per,
        vote_block=vote.take("block", _BLOCK, defaults.vote_block),
        noisy=noisy,
        mirrored=mirrored,
        divergence=_divergence(section.optional("divergence")),
        flips=_flips(section.optional("flips")),
        errors=_errors(section.optional("errors")),
        latency=_latency(section.optional("latency")),
        confidence=_confidence(section.optional("confidence")),
        classes=_classes(section.optional("classes")),
        drift=_drift(section.optional("drift")),
        accuracy=_accuracy(section.optional("accuracy")),
        breaker=section.section("breaker").take("consecutive_errors", _ERRORS, defaults.breaker),
    )


def _certify(value: object) -> float | None:
    if value is False:
        return None
    try:
        return _CERTIFY(value)
    except ValueError as error:
        raise ValueError(f"{error}; or false, to let a stage pass without certification") from error


def _vote_window(vote: Section, per: str, default: float) -> float:
    window = vote.take("window", _WINDOW, default)
    if per == "unit":
        return window
    if vote.holds("window"):
        vote.refuse(
            "window", vote.given("window"), f"with 'per: {per}' every {per} votes; leave the window out"
        )
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


def _confidence(section: Section | None) -> ConfidenceGuard | None:
    meaning = "the limit, such as 5%; without one, leave the guard out"
    shift = None if section is None else section.need("shift", _CONFIDENCE, meaning)
    return None if shift is None else ConfidenceGuard(shift)


def _classes(section: Section | None) -> ClassesGuard | None:
    shift = None if section is None else _limit(section, "shift")
    return None if shift is None else ClassesGuard(shift)


def _drift(section: Section | None) -> DriftGuard | None:
    if section is None:
        return None
    shift = _limit(section, "shift")
    reference = section.take("reference", values.text(1024), None)
    learn = section.take("learn", _LEARN, DriftGuard(1.0).learn)
    if reference is not None and section.holds("learn"):
        section.refuse("learn", learn, "nothing is learned where a reference is given; leave one of them out")
    if shift is None:
        return None
    if reference is None and learn < (least := least_learned(shift)):
        off = f"{300 / math.sqrt(learn):.2g}%"
        way_out = "allow more" if least > _MOST_LEARNED else f"learn from {least} at least, allow more"
        section.refuse(
            "shift", section.given("shift"),
            f"a reference learned from {learn} requests may itself be off by {off}: {way_out}, "
            "or give a reference file",
        )  # fmt: skip
    return DriftGuard(shift, reference, learn)


def least_learned(shift: float) -> int:
    """From how many requests a reference must be learned for a limit of `shift`: see `killswitch.references`.

    >>> least_learned(0.1)
    900
    """
    return math.ceil((3 / shift) ** 2 - 1e-6)


def _accuracy(section: Section | None) -> AccuracyGuard | None:
    drop = None if section is None else _limit(section, "drop")
    return None if drop is None else AccuracyGuard(drop)


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
