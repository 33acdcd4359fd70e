"""Every case of Unleash's client specification, by which all of its SDKs are tested, on our exposures.

A case about variants says whether the flag is exposed, too; that is what is asked here, since a variant
decides nothing in the gateway.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from routing.context import FlagContext
from routing.excerpt import excerpt
from routing.exposure import NOT_EXPOSED, Exposure, compile_flags
from tests.support.unleash import MissingError, specification

CASES = 279
FIELDS = {"userId", "sessionId", "remoteAddress", "environment", "appName", "currentTime", "properties"}


class Case(NamedTuple):
    file: str
    state: bytes
    flag: str
    context: dict[str, Any]
    exposed: bool


def cases(folder: Path) -> Iterator[Case]:
    for name in json.loads((folder / "index.json").read_text()):
        document = json.loads((folder / name).read_text())
        state = json.dumps(document["state"]).encode()
        for test in document.get("tests", ()):
            yield Case(name, state, test["toggleName"], test["context"], test["expectedResult"])
        for test in document.get("variantTests", ()):
            exposed = test["expectedResult"]["feature_enabled"]
            yield Case(name, state, test["toggleName"], test["context"], exposed)


@pytest.fixture(scope="module")
def known() -> list[Case]:
    try:
        return list(cases(specification()))
    except MissingError as error:
        pytest.skip(f"no client specification: {error}")


def context(given: dict[str, Any]) -> FlagContext:
    assert given.keys() <= FIELDS
    properties = {name: value for name, value in given.get("properties", {}).items() if value is not None}
    at = given.get("currentTime")
    return FlagContext(
        session_id=given.get("sessionId"),
        remote_address=given.get("remoteAddress"),
        environment=given.get("environment"),
        app_name=given.get("appName"),
        current_time=None if at is None else datetime.fromisoformat(at),
        properties=properties,
    )


@cache
def compiled(state: bytes) -> dict[str, Exposure]:
    return dict(compile_flags(state, lambda: 0.5))


@cache
def compiled_alone(state: bytes, flag: str) -> Exposure:
    return compile_flags(excerpt(state, {flag}).document, lambda: 0.5).get(flag, NOT_EXPOSED)


def whole(case: Case) -> Exposure:
    return compiled(case.state).get(case.flag, NOT_EXPOSED)


def alone(case: Case) -> Exposure:
    return compiled_alone(case.state, case.flag)


@pytest.mark.parametrize("exposure", [whole, alone])
def test_every_case_is_answered_as_the_specification_says(
    known: list[Case], exposure: Callable[[Case], Exposure]
) -> None:
    assert len(known) == CASES
    wrong = [
        f"{case.file}: {case.flag} for {case.context}: expected {case.exposed}"
        for case in known
        if exposure(case)(case.context.get("userId"), context(case.context)) is not case.exposed
    ]
    assert wrong == []
