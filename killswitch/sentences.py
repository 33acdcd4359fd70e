"""Guards in words: what an operator reads at three in the morning."""

from __future__ import annotations

import math

from killswitch.signals import DIVERGENCE, ERRORS, FLIPS, LATENCY_SLO, Signal


def finding(signal: Signal, estimate: float) -> str:
    """What was seen and what is allowed: `flips 23 % against a limit of 1 %`."""
    as_text = number if signal.name == DIVERGENCE else percent
    seen, limit = as_text(estimate), as_text(signal.limit, digits=4)
    return f"{_subject(signal)} {seen} against a limit of {limit}"


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
    match signal.name:
        case name if name in (DIVERGENCE, FLIPS):
            return name
        case name if name == ERRORS:
            return "errors in excess of the incumbent's"
        case name if name == LATENCY_SLO:
            return f"answers over {milliseconds(signal.parameter)}"
        case _ if signal.quantile is not None:
            return _slow_answers(signal, f"p{100 * signal.quantile.level:g}", signal.quantile.value)
        case name:
            return name


def _slow_answers(signal: Signal, level: str, threshold: float | None) -> str:
    known = "" if threshold is None or threshold == math.inf else f" of {milliseconds(threshold)}"
    ratio = number(signal.parameter, 3)
    return f"latency {level}: excess of answers over {ratio} × the incumbent's {level}{known}"
