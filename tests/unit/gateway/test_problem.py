"""The gateway's own answers are JSON whatever they have to say, and no longer than they claim."""

from __future__ import annotations

import json
from http import HTTPStatus

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.problem import RETRY_AFTER, problem


@settings(max_examples=100, deadline=None)
@given(st.sampled_from([400, 404, 413, 431, 502, 503, 504, 508]), st.text(), st.booleans())
def test_a_problem_says_what_it_was_told_to(status: int, detail: str, bodiless: bool) -> None:
    answer = problem(status, detail, b"a.b~c:1-2_", fields=RETRY_AFTER, bodiless=bodiless)
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *fields = head.split(b"\r\n")
    assert first == b"HTTP/1.1 %d %b" % (status, HTTPStatus(status).phrase.encode())
    assert fields[0] == b"content-type: application/problem+json"
    assert fields[2:] == [b"x-request-id: a.b~c:1-2_", b"retry-after: 1"]
    told = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "request_id": "a.b~c:1-2_",
    }
    whole = json.dumps(told).encode()
    assert fields[1] == b"content-length: %d" % len(whole)
    assert body == (b"" if bodiless else whole)
