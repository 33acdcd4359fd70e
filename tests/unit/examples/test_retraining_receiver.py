"""The example receiver takes what the gateway signs, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from examples.retraining.receiver import TOLERANCE, verified
from notify import signature

KEY = b"0123456789abcdef01234567"
BODY = b'{"id": "msg_1"}'
FIELDS = signature.signed((KEY,), "msg_1", 1000, BODY)


def test_what_the_gateway_signs_is_verified() -> None:
    assert verified(FIELDS, BODY, KEY, 1000.0)
    both = signature.signed((b"another key, 24 bytes it is", KEY), "msg_1", 1000, BODY)
    assert verified(both, BODY, KEY, 1000.0 + TOLERANCE)


@pytest.mark.parametrize(
    ("fields", "body", "now"),
    [
        (FIELDS, b'{"id": "msg_2"}', 1000.0),
        (FIELDS, BODY, 1001.0 + TOLERANCE),
        ({**FIELDS, "webhook-id": "msg_2"}, BODY, 1000.0),
        ({**FIELDS, "webhook-timestamp": "1001"}, BODY, 1000.0),
        ({**FIELDS, "webhook-signature": "v1,AAAA"}, BODY, 1000.0),
        ({}, BODY, 1000.0),
    ],
)
def test_what_was_changed_or_is_old_is_not(fields: dict[str, str], body: bytes, now: float) -> None:
    assert not verified(fields, body, KEY, now)


def test_the_workflow_takes_the_texts_that_are_sent() -> None:
    path = Path(__file__).parents[3] / "examples" / "retraining" / "github" / "retrain.yml"
    workflow = yaml.safe_load(path.read_text())
    started = workflow[True]  # YAML 1.1 reads "on" as true
    assert started["repository_dispatch"]["types"] == ["pointsman-retrain"]
    assert set(started["workflow_dispatch"]["inputs"]) == {"endpoint", "version", "cause", "reason", "notice"}
