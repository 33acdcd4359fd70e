"""The implementations of the head grammar that are there: each must mean the same."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import pytest

from gateway import head
from gateway.message import RequestMessage

PURE = "pure"
COMPILED = "compiled"
GRAMMARS = (PURE, COMPILED) if head.ACCELERATED else (PURE,)


def request_grammar(name: str, interest: Iterable[bytes] = ()) -> head.RequestGrammar:
    """The grammar of requests called `name`."""
    return head.RequestGrammar(interest, accelerated=name == COMPILED)


def response_grammar(name: str) -> head.ResponseGrammar:
    """The grammar of responses called `name`."""
    return head.ResponseGrammar(accelerated=name == COMPILED)


def read_request(grammar: head.RequestGrammar, data: bytes) -> RequestMessage:
    """The request whose whole head is `data`, as a worker reads it. Raises ClientProtocolError."""
    message = grammar.read(data + b"\r\n\r\n")
    assert message is not None, "the head is whole"
    return message


def read_response(grammar: head.ResponseGrammar, data: bytes) -> head.ResponseHead:
    """The response whose whole head is `data`, as a worker reads it. Raises UpstreamProtocolError."""
    response = grammar.read(data + b"\r\n\r\n")
    assert response is not None, "the head is whole"
    return response


def use(patch: pytest.MonkeyPatch, name: str) -> None:
    """Workers started from now on, until `patch` is undone, read heads with the grammar called `name`."""
    patch.setattr("gateway.worker.RequestGrammar", partial(request_grammar, name))
    patch.setattr("gateway.pool.ResponseGrammar", partial(response_grammar, name))
