"""An OpenID Connect issuer in this process: a document, keys, and a token endpoint, behind httpx."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from functools import cache
from typing import Any
from urllib.parse import parse_qs

import httpx
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

URL = "https://issuer.example/realm"
AUDIENCE = "pointsman"
NOW = 1_700_000_000.0


@cache
def rsa_key(kid: str = "one", bits: int = 2048) -> RSAKey:
    """A key, made once for all tests."""
    return RSAKey.generate_key(bits, {"kid": kid, "use": "sig"})


@cache
def ec_key(kid: str = "two") -> ECKey:
    """A key of P-256."""
    return ECKey.generate_key("P-256", {"kid": kid, "use": "sig"})


@cache
def okp_key(kid: str = "three") -> OKPKey:
    """A key of Ed25519."""
    return OKPKey.generate_key("Ed25519", {"kid": kid})


def claims(**more: Any) -> dict[str, Any]:
    """Claims that are in order, with `more` in place; None leaves one out."""
    found = {
        "iss": URL, "aud": AUDIENCE, "sub": "ada", "exp": int(NOW) + 300, "iat": int(NOW), "nbf": int(NOW),
        "groups": ["ops"], **more,
    }  # fmt: skip
    return {name: value for name, value in found.items() if value is not None}


def signed(
    key: Any = None, algorithm: str = "RS256", header: dict[str, Any] | None = None, **more: Any
) -> str:
    """A token of `claims(**more)`."""
    used = key or rsa_key()
    head = {"alg": algorithm, "kid": used.kid, **(header or {})}
    return jwt.encode(
        {name: value for name, value in head.items() if value is not None},
        claims(**more), used, algorithms=[algorithm],
    )  # fmt: skip


def part(content: object) -> str:
    """A part of a token, unsigned."""
    return urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


class FakeIssuer:
    """Answers as an issuer.

    Attributes:
        keys: what it publishes.
        asked: the paths that were asked for.
        down: whether nothing is answered.
        codes: ID tokens by the code that they are given for, with the challenge of the log-in.
    """

    def __init__(self) -> None:
        self.keys: list[Any] = [rsa_key(), ec_key(), okp_key()]
        self.asked: list[str] = []
        self.down = False
        self.codes: dict[str, str] = {}
        self.forms: list[dict[str, list[str]]] = []
        self.document: dict[str, Any] = {
            "issuer": URL,
            "authorization_endpoint": f"{URL}/authorize",
            "token_endpoint": f"{URL}/token",
            "jwks_uri": f"{URL}/keys",
        }

    @property
    def transport(self) -> httpx.MockTransport:
        """The way to it."""
        return httpx.MockTransport(self._answer)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url.path)
        if self.down:
            raise httpx.ConnectError("refused", request=request)
        if request.url.path.endswith("/openid-configuration"):
            return httpx.Response(200, json=self.document)
        if request.url.path.endswith("/keys"):
            return httpx.Response(200, json={"keys": [_published(one) for one in self.keys]})
        form = parse_qs(request.content.decode())
        self.forms.append(form)
        token = self.codes.pop(form["code"][0], None)
        if token is None:
            return httpx.Response(400, json={"error": "invalid_grant"})
        return httpx.Response(200, json={"id_token": token, "access_token": "x", "token_type": "Bearer"})


def _published(key: Any) -> Any:
    return key if isinstance(key, dict) else key.as_dict(private=isinstance(key, OctKey))
