"""Every case of `request_cases`, fed whole, byte by byte, and between two good requests.

One gateway and one recording model server take all of them, as they would in production: what one case left
behind would show in the next.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.conformance.http.request_cases import CASES, MAX_BODY, Case, Sent
from tests.support.gateway import Client, Received, Running, endpoint, gateway, post
from tests.support.grammars import GRAMMARS, use
from tests.support.upstream import Heard, ScriptedUpstream, response, saying

VIA = re.compile(r"1\.1 pointsman-[0-9a-f]{12}")
"""What this gateway calls itself."""
OWN = {"host", "x-forwarded-for", "x-forwarded-proto", "via", "x-request-id"}
"""Fields that the gateway itself sets."""
SLICED = 20_000
"""A request over so many bytes comes in larger pieces than single bytes."""
PATIENCE = 10.0
"""Seconds after which an answer is not coming: far from any of the gateway's own timeouts' meaning."""


@dataclass
class Serving:
    """A gateway in a loop of its own, and the model server behind it."""

    runner: asyncio.Runner
    running: Running
    upstream: ScriptedUpstream


@pytest.fixture(scope="module", params=GRAMMARS)
def serving(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with pytest.MonkeyPatch.context() as patch, asyncio.Runner() as runner:
        use(patch, request.param)
        upstream = ScriptedUpstream(saying(response(b"[0.5]")))
        runner.run(upstream.start())
        behind = gateway(tmp_path_factory.mktemp("gateway"), endpoint(upstream.port, max_body=MAX_BODY))
        running = runner.run(behind.__aenter__())
        try:
            yield Serving(runner, running, upstream)
        finally:
            runner.run(behind.__aexit__(None, None, None))
            runner.run(upstream.stop())


async def _answer(client: Client, case: Case) -> Received:
    head_only = case.request.startswith(b"HEAD ")
    answer = await asyncio.wait_for(client.response(head_only=head_only), PATIENCE)
    if answer.status == 100:
        assert b"100-continue" in case.request.lower()
        assert b"HTTP/1.0" not in case.request, "which knows no interim answers"
        answer = await asyncio.wait_for(client.response(), PATIENCE)
    assert answer.status == case.status
    assert (answer.fields.get("connection") == "close") == case.closes
    assert case.answer.items() <= answer.fields.items()
    if case.status >= 400:
        assert answer.fields["content-type"] == "application/problem+json"
    return answer


def _same(heard: Heard, sent: Sent, port: int) -> None:
    fields = heard.fields
    assert fields["host"] == f"127.0.0.1:{port}", "whatever the client called it"
    assert VIA.fullmatch(fields["via"].split("|")[-1])
    assert fields["x-forwarded-for"] == "127.0.0.1"
    assert fields["x-forwarded-proto"] == "http"
    if "via" in sent.fields:
        assert fields["via"].rpartition("|")[0] == sent.fields["via"]
    passed = {name: value for name, value in fields.items() if name not in OWN}
    assert passed == {name: value for name, value in sent.fields.items() if name not in OWN}
    assert heard.line.decode("latin-1") == sent.line
    assert heard.body == sent.body


async def _fed(serving: Serving, case: Case, feeding: str) -> None:
    client = await serving.running.connect()
    try:
        if feeding == "pipelined":
            data = post(b"first") + case.request + post(b"after")
            client.feed(data, size=len(data))
            assert (await asyncio.wait_for(client.response(), PATIENCE)).status == 200, "in the order asked"
        else:
            small = 1 if len(case.request) < SLICED else 997
            client.feed(case.request, size=len(case.request) if feeding == "whole" else small)
        await _answer(client, case)
        if case.closes:
            assert await asyncio.wait_for(client.reader.read(), PATIENCE) == b"", "nothing follows"
            return
        if feeding != "pipelined":
            client.feed(post(b"after"), size=1000)
        assert (await asyncio.wait_for(client.response(), PATIENCE)).status == 200
    finally:
        client.close()
        await asyncio.sleep(0)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("feeding", ["whole", "bytes", "pipelined"])
def test_each_request_has_its_status_its_connection_its_fate_and_nothing_else_is_forwarded(
    case: Case, feeding: str, serving: Serving
) -> None:
    heard = serving.upstream.heard
    heard.clear()
    serving.runner.run(_fed(serving, case, feeding))
    others = {b"first", b"after"}
    seen = Counter(one.body for one in heard if one.body in others)
    assert seen[b"first"] == (feeding == "pipelined")
    assert seen[b"after"] == (not case.closes)
    forwarded = [one for one in heard if one.body not in others]
    assert len(forwarded) == (case.sent is not None), "the model server sees what is said, and no more"
    if case.sent is not None:
        _same(forwarded[0], case.sent, serving.upstream.port)


def test_each_case_is_another_one_and_says_where_it_is_written() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 150
    assert len({case.request for case in CASES}) == len(CASES)
    assert all(case.section.split()[0] in ("9110", "9112", "9113", "6585", "7239", "3875") for case in CASES)
