"""The console's files over HTTP: typed, compressed, kept for ever or asked for again."""

from __future__ import annotations

import gzip

import pytest
from starlette.requests import Request

from console.site import Asset, site
from control.routes.console import ASK_AGAIN, FOR_EVER, POLICY, answered

TEXT = b"export const one = 1;\n" * 100
ASSET = Asset(TEXT, gzip.compress(TEXT), "text/javascript; charset=utf-8", "0123")


def request(**fields: str) -> Request:
    headers = [(name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()]
    return Request({"type": "http", "method": "GET", "headers": headers})


@pytest.mark.parametrize("accepted", ["gzip", "br, gzip;q=0.5", "GZIP"])
def test_who_reads_gzip_gets_it(accepted: str) -> None:
    answer = answered(request(accept_encoding=accepted), ASSET, FOR_EVER)
    assert answer.headers["content-encoding"] == "gzip"
    assert gzip.decompress(bytes(answer.body)) == TEXT


@pytest.mark.parametrize("accepted", ["", "identity", "gzip;q=0", "br"])
def test_who_does_not_gets_the_bytes(accepted: str) -> None:
    answer = answered(request(accept_encoding=accepted), ASSET, FOR_EVER)
    assert "content-encoding" not in answer.headers
    assert bytes(answer.body) == TEXT


@pytest.mark.parametrize("accepted", ["gzip", ""])
def test_who_has_it_is_told_so(accepted: str) -> None:
    tag = answered(request(accept_encoding=accepted), ASSET, ASK_AGAIN).headers["etag"]
    again = answered(request(accept_encoding=accepted, if_none_match=f'"x", W/{tag}'), ASSET, ASK_AGAIN)
    assert (again.status_code, bytes(again.body)) == (304, b"")
    other = "" if accepted else "gzip"
    assert answered(request(accept_encoding=other, if_none_match=tag), ASSET, ASK_AGAIN).status_code == 200


def test_every_answer_carries_the_policy() -> None:
    for asset in (site().page, *site().assets.values()):
        answer = answered(request(), asset, ASK_AGAIN)
        assert answer.headers["content-security-policy"] == POLICY
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-type"] == asset.media_type


def test_the_policy_allows_no_text_to_run() -> None:
    assert "unsafe" not in POLICY
    assert {"default-src 'none'", "script-src 'self'", "base-uri 'none'", "frame-ancestors 'none'"} <= set(
        POLICY.split("; ")
    )
