"""What is kept of one request that was answered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from domain.routing import Arm

Value = float | str | None
"""Of a feature or a prediction: a number, a text, or nothing that is either."""


class Mirrored(NamedTuple):
    """What the other arm answered to the same request, unseen by the client.

    `status` is 0 when it gave no answer; `latency` in seconds; `predictions` and `confidence` as in the
    record.
    """

    version: str
    status: int
    latency: float
    predictions: tuple[Value, ...]
    confidence: float | None


class PredictionRecord(NamedTuple):
    """One request that was answered.

    Attributes:
        request_id: as the client got it in `x-request-id`; a client that names its requests itself may use
            one twice.
        at: seconds since 1970, when the request came.
        unit: a 64-bit digest of the unit, keyed by the gateway's process tree; 0 for none.
        arm, version: whose answer the client got.
        status: of that answer; 499 when the client left before it was whole.
        latency: seconds from the request's head to the answer's last byte.
        generation: of the snapshot that decided.
        configuration: SHA-256 (hex) of the configuration that the snapshot was made of.
        reason: the decision's, as `domain.routing.Reason` has it.
        drill: the id of the drill that was under way at the endpoint, or "".
        features: of the first row, those that are configured; a text that is no number is a text.
        predictions: one a row: the number, or the class's label; () when the answer could not be read.
        confidence: of the first row's prediction, in [0, 1], where it has one.
        cohorts: a value for each configured cohort, in order.
        input_digest: SHA-256 (hex) of the request's body; "" for a body too long to be kept.
        input: the request's body after redaction; b"" unless it is configured.
        mirrored: what the other arm answered, where it was asked.
    """

    request_id: str
    endpoint: str
    at: float
    unit: int
    arm: Arm
    version: str
    status: int
    latency: float
    generation: int
    configuration: str
    reason: str
    drill: str
    features: Mapping[str, Value]
    predictions: tuple[Value, ...]
    confidence: float | None
    cohorts: tuple[str | None, ...]
    input_digest: str
    input: bytes
    mirrored: Mirrored | None
