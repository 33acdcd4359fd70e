"""How drills are configured: what is refused, by key, value and way out."""

from __future__ import annotations

from typing import Any

import pytest

from domain.snapshot import Fault
from settings.drills import DrillSettings
from settings.parse import parse, problems


def document(**drills: Any) -> dict[str, Any]:
    rain = {
        "path": "/predict",
        "protocol": "json",
        "unit": "request",
        "incumbent": {"version": "rain-1", "urls": ["http://127.0.0.1:9001"]},
        "compare": {"kind": "regression"},
        "drills": drills,
    }
    return {"endpoints": {"rain": rain}}


def test_what_is_left_out_has_the_documented_defaults_and_touches_no_client() -> None:
    settings = parse(document())
    assert settings.endpoints[0].drills == DrillSettings()
    assert not settings.endpoints[0].drills.served
    assert settings.stands_in == "production"


def test_every_key_is_read() -> None:
    given = {
        "every": " 0  3 * * 1 ", "environment": "staging", "fault": "latency", "share": "5%", "served": True,
        "weight": "10%", "lasts": "30s", "within": "1s", "latency": "250ms", "noise": 2,
        "requests": "r.jsonl",
        "rps": 50,
    }  # fmt: skip
    settings = parse({**document(**given), "environment": "staging"})
    assert settings.stands_in == "staging"
    assert settings.endpoints[0].drills == DrillSettings(
        "0 3 * * 1", "staging", Fault.LATENCY, 500, True, 1000, 30.0, 1.0, 0.25, 2.0, "r.jsonl", 50
    )


@pytest.mark.parametrize(
    ("key", "value", "way_out"),
    [
        ("every", "0 3 * *", "as cron does"),
        ("every", "0 99 * * *", "as cron does"),
        ("every", "0 0 30 2 *", "as cron does"),
        ("every", 5, "as cron does"),
        ("environment", "", "text"),
        ("fault", "flood", "'flip', 'noise', 'error', 'latency' or 'json'"),
        ("share", "0%", "above 0%"),
        ("share", 0.2, "percentage"),
        ("served", "yes", "true"),
        ("weight", "0%", "above 0%"),
        ("lasts", "0s", "1s"),
        ("within", 5, "with its unit"),
        ("latency", "2m", "1m"),
        ("noise", 0, "0.001"),
        ("rps", 0, "1 to 10000"),
        ("often", True, "every"),
    ],
)
def test_a_bad_value_is_refused_by_its_key(key: str, value: object, way_out: str) -> None:
    (problem, *_) = problems(document(**{key: value}))
    assert problem.path == f"endpoints.rain.drills.{key}"
    assert way_out in problem.allowed
