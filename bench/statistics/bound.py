"""What no test can beat by much: the information-theoretic bound on the number of pairs until an alarm."""

from __future__ import annotations

import math


def divergence(rate: float, limit: float) -> float:
    """Kullback-Leibler divergence of a coin with `rate` from one with `limit`, in nats per toss."""
    rest = (1 - rate) * math.log((1 - rate) / (1 - limit)) if rate < 1 else 0.0
    return rate * math.log(rate / limit) + rest


def pairs(rate: float, limit: float, alpha: float) -> float:
    """ln(1/α) / KL: what a test with false-alarm rate α needs on average (Wald 1945, Lorden 1971)."""
    return math.log(1 / alpha) / divergence(rate, limit)
