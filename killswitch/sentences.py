"""Guards in words: what an operator reads at three in the morning."""

from __future__ import annotations

import math

from killswitch.signals import (
    ACCURACY,
    CLASSES,
    CONFIDENCE,
    DIVERGENCE,
    DRIFT,
    ERRORS,
    ERRORS_UNPAIRED,
    FLIPS,
    LATENCY_SLO,
    NOISE_CORRECTED_DIVERGENCE,
    NOISE_CORRECTED_FLIPS,
    Signal,
)

_SUBJECTS = {
    DIVERGENCE: "divergence",
    FLIPS: "flips",
    NOISE_CORRECTED_DIVERGENCE: "divergence beyond the incumbent's own noise",
    NOISE_CORRECTED_FLIPS: "flips beyond the incumbent's own noise",
    ERRORS: "errors in excess of the incumbent's",
    ERRORS_UNPAIRED: "errors in excess of the incumbent's, by counts",
    CONFIDENCE: "confidence shifted by",
    CLASSES: "class shares shifted by",
    ACCURACY: "accuracy below the incumbent's by",
    DRIFT: "features drifted by",
}
_PLAIN = frozenset({DIVERGENCE, NOISE_CORRECTED_DIVERGENCE, CONFIDENCE})
"""Signals that are no shares of anything, and so read as numbers."""


def finding(signal: Signal, estimate: float) -> str:
    """What was seen and what is allowed: `flips 23 % against a limit of 1 %`."""
    as_text = number if signal.name in _PLAIN else percent
    seen, limit = as_text(estimate), as_text(signal.limit, digits=4)
    either = " in either direction" if signal.two_sided else ""
    return f"{_subject(signal)} {seen} against a limit of {limit}{either}"


def no_votes(signal: Signal) -> str:
    """Why a guard has nothing to say yet."""
    quantile = signal.quantile
    if quantile is not None and quantile.value is None:
        known = f"{quantile.profile.seen} of the {quantile.minimum} incumbent latencies"
        return f"{signal.name}: no votes yet, {known} it compares with"
    return f"{signal.name}: no votes yet" + (f", it needs {signal.needs}" if signal.needs else "")


def passed(signal: Signal, finding: str, votes: int, certify: float | None) -> str:
    """A PASS; `certify` is the chance of a wrong certificate, None where nothing is certified."""
    over = f"over {count(votes)} votes"
    if certify is None:
        return f"{finding}: within the limit {over}, not certified"
    below = "" if signal.proved == signal.limit else f" {percent(signal.proved)}"
    return f"{finding}: certainly below{below or ' it'} ({percent(1 - certify, 4)}), {over}"


def undecided(
    finding: str,
    votes: int,
    needed: int,
    breach: tuple[float, float] | None,
    certificate: tuple[float, int | None] | None,
) -> str:
    """Not enough evidence, and what it takes.

    `breach`: the evidence of a fault and what a breach takes, when there is some; `certificate`: its chance
    of error, and how many more votes it takes at this rate (None: never).
    """
    so_far = f"{count(votes)} of {count(needed)} votes" if votes < needed else f"{count(votes)} votes"
    if breach is not None:
        evidence, threshold = breach
        against = f"{odds(evidence)} where a breach takes {odds(threshold)}"
        return f"{finding}: not enough evidence yet ({against}, {so_far})"
    if certificate is None:
        return f"{finding}: not enough evidence yet ({so_far})"
    chance, missing = certificate
    proof = f"to certify it ({percent(1 - chance, 4)})"
    if missing is None:
        return f"{finding}: not enough evidence yet ({so_far}; at this rate never enough {proof})"
    return f"{finding}: not enough evidence yet ({so_far}; about {about(missing)} more {proof})"


def about(whole: int) -> str:
    """A whole number to two digits: `1 300`."""
    return count(int(float(f"{whole:.2g}")))


def odds(evidence: float) -> str:
    """How often such evidence would come up by chance, at most: `1 in 40 000`, `1 in 5 million`.

    >>> odds(39_612.4), odds(5_123_456.0), odds(2.34), odds(3.1e22)
    ('1 in 40 000', '1 in 5.1 million', '1 in 2.3', '1 in 10^22')
    """
    if evidence >= 1e15:
        return f"1 in 10^{math.floor(math.log10(evidence))}"
    rounded = float(f"{evidence:.2g}")
    for size, word in ((1e12, "trillion"), (1e9, "billion"), (1e6, "million")):
        if rounded >= size:
            return f"1 in {rounded / size:g} {word}"
    return f"1 in {count(int(rounded))}" if rounded >= 10 else f"1 in {rounded:g}"


def percent(share: float, digits: int = 2) -> str:
    """A share of one, to so many significant digits: `23 %`."""
    return f"{number(100 * share, digits)} %"


def milliseconds(seconds: float) -> str:
    """A time, to three significant digits: `31 ms`."""
    return f"{number(1000 * seconds, 3)} ms"


def count(whole: int) -> str:
    """A whole number in groups of three: `40 000`."""
    return f"{whole:,}".replace(",", " ")


def number(value: float, digits: int = 2) -> str:
    """To so many significant digits, never in exponent notation above 0.0001, never as -0."""
    rounded = float(f"{value:.{digits}g}")
    return f"{rounded:.10g}" if rounded else "0"


def _subject(signal: Signal) -> str:
    if signal.quantile is not None:
        return _slow_answers(signal, f"p{100 * signal.quantile.level:g}", signal.quantile.value)
    if signal.name == LATENCY_SLO:
        return f"answers over {milliseconds(signal.parameter)}"
    return _SUBJECTS[signal.name]


def _slow_answers(signal: Signal, level: str, threshold: float | None) -> str:
    known = "" if threshold is None or threshold == math.inf else f" of {milliseconds(threshold)}"
    ratio = number(signal.parameter, 3)
    return f"latency {level}: excess of answers over {ratio} × the incumbent's {level}{known}"
