"""The admin API keeps to its own OpenAPI document, whatever is sent to it, with authentication and without.

What the document calls for is generated from it (schemathesis): what fits, and what does not. The seed is
fixed, so that a run sends what the run before it sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import GenerationMode
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from domain.role import ROLES, Role
from tests.support.access import bearer, of_every_role
from tests.support.control import ControlProcess, FakeWorker, document, pair, write

ENDLESS = "/api/v1/events"
EXAMPLES = 8
CHECKS = [content_type_conformance, response_schema_conformance, status_code_conformance]
INSTANTS = ["2026-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "yesterday"]


@contextmanager
def served(folder: Path, **more: Any) -> Iterator[str]:
    """A control process with one worker and some pairs; its address."""
    write(folder, {**document(folder), **more})
    control = ControlProcess(folder)
    try:
        with asyncio.Runner() as runner:
            worker = runner.run(FakeWorker().connect(control.link))
            generation = worker.snapshot.generation
            runner.run(worker.send([pair(n, generation=generation) for n in range(10)], 1))
            runner.run(worker.close())
        yield control.admin
    finally:
        control.kill()


def described(address: str) -> dict[str, Any]:
    """The document, whose parameters name what there is besides what there is not."""
    found: dict[str, Any] = requests.get(f"{address}/openapi.json", timeout=20).json()
    there = {"endpoint": ["rain", "hail"], "at": INSTANTS, "since": INSTANTS, "until": INSTANTS}
    for operations in found["paths"].values():
        for operation in operations.values():
            for parameter in operation.get("parameters", ()):
                if parameter["name"] in there:
                    parameter["schema"] = {"enum": there[parameter["name"]]}
    for schema in found["components"]["schemas"].values():
        if "endpoint" in schema.get("properties", {}):
            schema["properties"]["endpoint"] = {"enum": ["rain", "hail"]}
    return found


def fuzz(
    address: str, document: dict[str, Any], mode: GenerationMode, headers: Mapping[str, str], examples: int
) -> dict[tuple[str, int], int]:
    """Send `examples` requests to each operation; how often each was answered with which status."""
    counts: dict[tuple[str, int], int] = {}
    for result in schemathesis.openapi.from_dict(document).get_all_operations():
        assert isinstance(result, Ok), result
        operation = result.ok()
        open_ended = not operation.body and not operation.query  # a name in the path: whatever fits it
        if operation.path == ENDLESS or (mode is GenerationMode.NEGATIVE and open_ended):
            continue

        @seed(1)
        @settings(
            max_examples=examples, deadline=None, database=None,
            suppress_health_check=list(HealthCheck), phases=[Phase.generate],
        )  # fmt: skip
        @given(case=operation.as_strategy(generation_mode=mode))
        def send(case: schemathesis.Case[Any]) -> None:
            answer = case.call(base_url=address, headers=dict(headers), timeout=20)
            key = (case.operation.label, answer.status_code)
            counts[key] = counts.get(key, 0) + 1
            assert answer.status_code != 500, f"{answer.text}\n{case.as_curl_command()}"
            case.validate_response(answer, checks=CHECKS)
            if mode is GenerationMode.NEGATIVE and case.operation.body:
                assert answer.status_code >= 400, f"{case.operation.label}: {case.as_curl_command()}"

        send()
    return counts


def test_whatever_fits_the_document_is_answered_as_it_says(tmp_path: Path) -> None:
    with served(tmp_path) as address:
        counts = fuzz(address, described(address), GenerationMode.POSITIVE, {}, EXAMPLES)
        answered = {label for (label, status) in counts if status < 300}
        kills = counts["POST /api/v1/endpoints/{endpoint}/kill", 200]
        rearms = counts.get(("POST /api/v1/endpoints/{endpoint}/rearm", 200), 0)
        search = f"{address}/api/v1/audit/search?action=switch.&limit=200"
        recorded = [one["action"] for one in requests.get(search, timeout=20).json()["events"]]
    assert {"GET /api/v1/endpoints/{endpoint}", "POST /api/v1/labels", "GET /api/v1/audit"} <= answered
    assert recorded.count("switch.tripped") == kills > 0, recorded
    assert recorded.count("switch.rearmed") == rearms


def test_what_does_not_fit_the_document_is_refused_as_it_says(tmp_path: Path) -> None:
    with served(tmp_path) as address:
        counts = fuzz(address, described(address), GenerationMode.NEGATIVE, {}, EXAMPLES)
        for place in ("?after=", "/search?before=", "/1/proof?size="):
            beyond = requests.get(f"{address}/api/v1/audit{place}{2**63}", timeout=20)
            assert beyond.status_code == 422, (place, beyond.text)
    refused = {label for (label, status) in counts if status in (400, 422)}
    assert {"POST /api/v1/endpoints/{endpoint}/kill", "POST /api/v1/labels", "GET /api/v1/audit"} <= refused


def test_every_operation_asks_for_the_role_that_the_document_names(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens.json"
    issued = of_every_role(tokens)
    with served(tmp_path, auth={"tokens_file": str(tokens)}) as address:
        found = described(address)
        wanted = {
            f"{method.upper()} {path}": ROLES.get(operation["x-role"], Role.NOBODY)
            for path, operations in found["paths"].items()
            for method, operation in operations.items()
        }
        for name, headers in {"": {}, **{role: bearer(issued[role]) for role in ROLES}}.items():
            has = ROLES.get(name, Role.NOBODY)
            for label, status in fuzz(address, found, GenerationMode.POSITIVE, headers, 1):
                told = (label, name, status)
                if has >= wanted[label]:
                    assert status not in (401, 403), told
                else:
                    assert status == (403 if has else 401), told
