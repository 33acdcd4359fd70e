"""What was really true: labels, held against the predictions of both arms."""

from __future__ import annotations

import math
from typing import Annotated

from fastapi import APIRouter
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
)
from starlette.responses import Response

from control.answers import json
from control.labelling import Given
from control.panel import Panel
from control.roles import Role, needs

MOST_LABELS = 10_000
MOST_ROWS = 10_000
LONGEST = 1000
LARGEST_BITS = 1000
"""Of an integer: beyond that it is no number of the database's, nor of anybody's."""

_ALLOWED = "give a class by its name or its index, or a number; for a batch a list of these, one for each row"

_ROW = {"anyOf": [{"type": "number"}, {"type": "boolean"}, {"type": "string", "maxLength": LONGEST}]}
_DESCRIBED = {
    "anyOf": [*_ROW["anyOf"], {"type": "array", "items": _ROW, "minItems": 1, "maxItems": MOST_ROWS}]
}


def _truth(label: object) -> object:
    """What may be a label. Raises ValueError."""
    if isinstance(label, list):
        if not 1 <= len(label) <= MOST_ROWS:
            raise ValueError(f"a list of {len(label)} is no label; {_ALLOWED}, {MOST_ROWS} at most")
        return [_one(row) for row in label]
    return _one(label)


def _one(label: object) -> object:
    if isinstance(label, str) and len(label) > LONGEST:
        raise ValueError(f"a text of {len(label)} characters is no label; give {LONGEST} at most")
    if isinstance(label, str) and not label.isascii() and not _writable(label):
        raise ValueError(f"the text {label!a:.60} is no Unicode: half of a pair stands alone; {_ALLOWED}")
    if isinstance(label, float) and not math.isfinite(label):
        raise ValueError(f"{label} is no label; {_ALLOWED}")
    if isinstance(label, int) and label.bit_length() > LARGEST_BITS:
        raise ValueError(f"an integer of {label.bit_length()} bits is no label; give {LARGEST_BITS} at most")
    if not isinstance(label, bool | int | float | str):
        raise ValueError(f"{str(label)[:60]!r} is no label; {_ALLOWED}")
    return label


def _writable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class Label(BaseModel):
    """The true class of a request, or number; of a batch a list, one for each row. `at`: when it became
    known."""

    model_config = ConfigDict(extra="forbid", strict=True)

    request_id: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    label: Annotated[object, AfterValidator(_truth), WithJsonSchema(_DESCRIBED)]
    at: Annotated[AwareDatetime | None, Field(strict=False)] = None


Labels = Annotated[list[Label], Field(min_length=1, max_length=MOST_LABELS)]


def routes(panel: Panel) -> APIRouter:
    """`/api/v1/labels`."""
    router = APIRouter(prefix="/api/v1/labels", tags=["labels"])

    @router.post("", dependencies=[needs(Role.OPERATOR)])
    async def labels(labels: Labels) -> Response:
        """Keep labels, and join those of remembered pairs at once; what became of them."""
        given = [Given(one.request_id, one.label, one.at) for one in labels]
        return json(await panel.labels.let_in(given))

    @router.get("", dependencies=[needs(Role.VIEWER)])
    async def status() -> Response:
        """How many labels were joined, how many wait for their record, and which do not fit."""
        return json(await panel.labels.status())

    return router
