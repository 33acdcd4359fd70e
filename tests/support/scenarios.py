"""A small world in which one thing goes wrong at a known instant: what diagnosis is tried on.

Requests carry three measurements and a country. What is true follows from them, two versions predict it with
weights of their own, and labels say what was true. Besides the one thing that goes wrong, configurations are
loaded, stages moved and lineage records touched at random instants, as in any live system.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from monitoring.diagnosis.changes import Axis, Change, Signal
from monitoring.diagnosis.signals import Answer, Request

BEGIN, SPAN = 1_772_000_000.0, 6 * 3600.0
COUNTRIES = ("AT", "DE", "FR", "IT")
TRUTH = {"temperature": 1.2, "humidity": 1.0, "pressure": -0.8}
INCUMBENT = {"temperature": 1.1, "humidity": 0.9, "pressure": -0.8}
CANDIDATE = {"temperature": 1.25, "humidity": 1.05, "pressure": -0.85}
BROKEN = {"temperature": 0.2, "humidity": -0.5, "pressure": -0.1}
HUMID = {"temperature": 1.0, "humidity": 1.6, "pressure": -0.8}

Weights = Mapping[str, float]
Features = dict[str, float | str | None]


@dataclass(slots=True)
class World:
    """How things are at an instant; a scenario changes it.

    Attributes:
        felt: what becomes of the features before they are sent.
        failing: whether a version fails at this request, with which status.
    """

    random: random.Random
    truth: Weights = field(default_factory=lambda: TRUTH)
    incumbent: tuple[str, Weights] = ("rain-1", INCUMBENT)
    candidate: tuple[str, Weights] = ("rain-2", CANDIDATE)
    felt: Callable[[Features], Features] = lambda features: features
    failing: Callable[[str, float], int] = lambda version, latency: 200


@dataclass(frozen=True, slots=True)
class Scenario:
    """What happened: `at` is when it went wrong, `axis` on which axis, None for nothing at all."""

    requests: tuple[Request, ...]
    changes: tuple[Change, ...]
    signal: Signal
    axis: Axis | None
    kind: str
    at: float


def played(name: str, seed: int, count: int = 3000, begin: float = BEGIN, span: float = SPAN) -> Scenario:
    """The scenario called `name`, with chance from `seed`."""
    chance = random.Random(f"{name} {seed}")
    world = World(chance)
    instants = sorted(begin + chance.random() * span for _ in range(count))
    wrong = int(count * chance.uniform(0.4, 0.85))
    at = (instants[wrong - 1] + instants[wrong]) / 2
    signal, axis, kind, break_it, change = SCENARIOS[name]
    requests: list[Request] = []
    for number, when in enumerate(instants):
        if number == wrong:
            break_it(world)
        requests.append(_request(world, when))
    changes = [*_noise(chance, begin, span), *([] if change is None else [change._replace(at=at)])]
    return Scenario(tuple(requests), tuple(sorted(changes)), signal, axis, kind, at)


def _request(world: World, at: float) -> Request:
    chance = world.random
    real: Features = {name: chance.gauss(0, 1) for name in TRUTH}
    real["country"] = chance.choice(COUNTRIES)
    label = float(_score(world.truth, real) + chance.gauss(0, 0.3) > 0)
    sent = world.felt(dict(real))
    answers = []
    for version, weights in (world.incumbent, world.candidate):
        latency = 0.005 * math.exp(chance.gauss(0, 0.6))
        status = world.failing(version, latency)
        score = _score(weights, sent)
        confidence = 1 / (1 + math.exp(-abs(score)))
        said = (float(score > 0),) if status == 200 else ()
        answers.append(Answer(version, status, latency, said, confidence if said else None))
    return Request(at, sent, answers[0], answers[1], (label,), (str(sent["country"]),))


def _score(weights: Weights, features: Features) -> float:
    total = 0.0
    for name, weight in weights.items():
        value = features[name]
        total += weight * value if isinstance(value, float) else 0.0
    return total


def _noise(chance: random.Random, begin: float, span: float) -> list[Change]:
    """What else happens, at instants that have nothing to do with anything."""

    def some(count: int, axis: Axis, kind: str, subject: str, **more: Any) -> list[Change]:
        return [
            Change(begin + chance.random() * span, axis, kind, f"{subject}-{number}", "unrelated", **more)
            for number in range(count)
        ]

    return [
        *some(chance.randint(0, 2), Axis.CODE, "configuration", "endpoints.rain.key"),
        *some(chance.randint(1, 4), Axis.CODE, "configuration", "guards", affects=frozenset()),
        *some(chance.randint(0, 3), Axis.MODEL, "stage", "rain", mixes=True),
        *some(chance.randint(0, 2), Axis.DATA, "lineage", "rain-1"),
        *some(chance.randint(0, 2), Axis.CODE, "gateway", "0.1.0"),
    ]


def _nothing(world: World) -> None:
    pass


def _pipeline(world: World) -> None:
    """Humidity comes in per cent from now on, centred otherwise."""

    def felt(features: Features) -> Features:
        humidity = features["humidity"]
        features["humidity"] = 1.5 * humidity + 2.0 if isinstance(humidity, float) else None
        return features

    world.felt = felt


def _concept(world: World) -> None:
    """It rains for other reasons than before."""
    world.truth = {"temperature": -0.3, "humidity": 1.3, "pressure": -0.2}


def _retraining(world: World) -> None:
    world.candidate = ("rain-3", BROKEN)


def _slipped_address(world: World) -> None:
    """The candidate's address leads to some other model."""
    world.candidate = ("rain-2", BROKEN)


def _slipped_timeout(world: World) -> None:
    world.failing = lambda version, latency: 504 if latency > 0.012 else 200


def _outage(world: World) -> None:
    chance = world.random
    world.failing = lambda version, latency: 503 if chance.random() < 0.4 else 200


def _feed(world: World) -> None:
    """Whoever measures humidity does not answer: it is not sent any more."""

    def felt(features: Features) -> Features:
        features["humidity"] = None
        return features

    world.felt = felt


def _drift(world: World) -> None:
    """Humidity is measured too high, more and more."""
    sent = [0]

    def felt(features: Features) -> Features:
        sent[0] += 1
        humidity = features["humidity"]
        features["humidity"] = humidity + min(3.0, sent[0] / 150) if isinstance(humidity, float) else None
        return features

    world.felt = felt


def _change(axis: Axis, kind: str, subject: str, version: str = "") -> Change:
    return Change(0.0, axis, kind, subject, "what did it", version=version)


Break = Callable[[World], None]
SCENARIOS: Mapping[str, tuple[Signal, Axis | None, str, Break, Change | None]] = {
    "feature pipeline": (Signal.ACCURACY, Axis.DATA, "feature", _pipeline, None),
    "concept drift": (Signal.ACCURACY, Axis.DATA, "concept", _concept, None),
    "bad retraining": (
        Signal.DIVERGENCE, Axis.MODEL, "version", _retraining,
        _change(Axis.MODEL, "version", "rain-3", "rain-3"),
    ),
    "configuration slip: address": (
        Signal.DIVERGENCE, Axis.CODE, "configuration", _slipped_address,
        _change(Axis.CODE, "configuration", "endpoints.rain.candidate.urls"),
    ),
    "configuration slip: timeout": (
        Signal.ERRORS, Axis.CODE, "configuration", _slipped_timeout,
        _change(Axis.CODE, "configuration", "endpoints.rain.timeout"),
    ),
    "upstream outage: servers": (Signal.ERRORS, Axis.DATA, "upstream", _outage, None),
    "input drift, slowly": (Signal.ACCURACY, Axis.DATA, "feature", _drift, None),
    "upstream outage: feed": (Signal.ACCURACY, Axis.DATA, "feature", _feed, None),
    "nothing": (Signal.DIVERGENCE, None, "", _nothing, None),
}  # fmt: skip
