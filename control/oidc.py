"""An OpenID Connect issuer: whose tokens are true, and how people log in by it.

A token is believed when one of the issuer's own keys has signed it, by an algorithm of the configured list,
for us, now. Nothing in the token chooses how it is checked: the keys come from the issuer's document alone
(`jwk`, `jku`, `x5c` and `x5u` in a header are not read), the list has no algorithm with a shared secret and
no `none`, and keys for shared secrets among the issuer's are left out (RFC 8725 sections 3.1 to 3.9).

The keys are fetched at the start, every hour, and when a token names one that is not there: once a minute at
most, whoever asks. While the issuer is out of reach the keys that are known go on being used.
"""

from __future__ import annotations

import asyncio
import json
import logging
import warnings
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from hashlib import sha256
from typing import Any
from urllib.parse import urlencode

import httpx
from joserfc import jwt
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import ECKey, KeySet, OKPKey, RSAKey

from control.clock import Clock
from control.identity import Identity, Unauthenticated
from control.log import note
from domain.errors import ConfigError, StateUnavailable
from domain.role import Grants, Role
from settings.access import OidcSettings
from settings.auth import issuer_url
from settings.tokens import holder

REFETCH = 60.0
"""Seconds between two fetches of the keys."""

RENEWED = 3600.0
"""Seconds after which they are fetched anew, though nobody asked for others."""

LARGEST = 1024 * 1024
"""Bytes of an answer of the issuer."""

LONGEST_TOKEN = 16 * 1024
"""Characters of a token."""

WEAKEST_RSA = 2048
"""Bits (RFC 7518 section 3.3)."""

log = logging.getLogger("pointsman.oidc")


class Issuer:
    """The issuer that `settings` name; `secret` is ours there, "" when PKCE alone proves us.

    `transport` is for tests.
    """

    def __init__(
        self,
        settings: OidcSettings,
        secret: str,
        clock: Clock,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.settings = settings
        self._secret = secret
        self._clock = clock
        self._http = httpx.AsyncClient(
            transport=transport, timeout=5.0, follow_redirects=False, trust_env=False
        )
        self._keys: dict[str, RSAKey | ECKey | OKPKey] = {}
        self._document: Mapping[str, str] = {}
        self._fetched: float | None = None
        self._fetching = asyncio.Lock()

    async def close(self) -> None:
        """Let go of connections."""
        await self._http.aclose()

    async def run(self) -> None:
        """For ever: fetch the keys anew, so that one that the issuer gave up is given up here, too."""
        while True:
            await self._fetch()
            await asyncio.sleep(RENEWED if self._keys else REFETCH)

    # Bearer tokens.

    async def bearer(self, token: str) -> Identity:
        """Whose `token` is. Raises Unauthenticated, and StateUnavailable while no key was ever fetched."""
        return self._person(await self._claims(token, self.settings.audience))

    async def _claims(self, token: str, audience: str) -> dict[str, Any]:
        header = _header(token)
        key = await self._key(header.get("kid"))
        try:
            with warnings.catch_warnings():  # EdDSA is deprecated as a name (RFC 9864), not as a signature
                warnings.simplefilter("ignore", SecurityWarning)
                found = jwt.decode(token, key, algorithms=list(self.settings.algorithms))
        except (JoseError, ValueError, TypeError) as error:
            raise Unauthenticated("the token is not signed by the issuer's key") from error
        if header.get("typ", "JWT").lower() not in ("jwt", "at+jwt", "application/at+jwt"):
            raise Unauthenticated("the token is of another type")
        self._demand_ours(found.claims, audience)
        return found.claims

    def _demand_ours(self, claims: Mapping[str, Any], audience: str) -> None:
        """Raises Unauthenticated unless the claims are of this issuer, for `audience`, and of now."""
        now, skew = self._clock.wall(), self.settings.skew
        if claims.get("iss") != self.settings.issuer:
            raise Unauthenticated("the token is of another issuer")
        meant = claims.get("aud")
        if audience not in (meant if isinstance(meant, list) else [meant]):
            raise Unauthenticated("the token is for somebody else")
        expires = _instant(claims, "exp")
        if expires is None or now >= expires + skew:
            raise Unauthenticated("the token has expired")
        for name in ("nbf", "iat"):
            begins = _instant(claims, name)
            if begins is not None and now < begins - skew:
                raise Unauthenticated("the token is not valid yet")

    def _person(self, claims: Mapping[str, Any]) -> Identity:
        """Who the claims speak of, and what their values give. Raises Unauthenticated."""
        if self.settings.name_claim == "email" and claims.get("email_verified") in (False, "false"):
            raise Unauthenticated("the issuer has not verified this email: it may be anybody's")
        named = _at(claims, self.settings.name_claim)
        try:
            name = holder(named if isinstance(named, str) else "", self.settings.name_claim)
        except ConfigError as error:
            raise Unauthenticated(f"the token names nobody: {error}") from error
        held = _at(claims, self.settings.roles_claim)
        several = held if isinstance(held, list | dict) else (held,)
        values = {one for one in several if isinstance(one, str)}
        grants = Grants()
        for rule in self.settings.roles:
            if rule.value in values:
                grants = grants.with_these(rule.grants())
        if grants.highest is Role.NOBODY:
            note(log, logging.WARNING, "no role", name=name)
        expires = _instant(claims, "exp")
        return Identity(name, f"oidc:{self.settings.issuer}", grants, expires=expires)

    # Its keys.

    async def _key(self, kid: object) -> KeySet | RSAKey | ECKey | OKPKey:
        if not self._keys or (isinstance(kid, str) and kid not in self._keys):
            await self._fetch()
        if not self._keys:
            raise StateUnavailable(f"the keys of {self.settings.issuer} could not be fetched so far")
        if kid is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        found = self._keys.get(kid) if isinstance(kid, str) else None
        if found is None:
            raise Unauthenticated("the token is signed by a key that the issuer does not have")
        return found

    async def _fetch(self) -> None:
        """The issuer's document and keys, unless that was tried within `REFETCH`."""
        async with self._fetching:
            now = self._clock.monotonic()
            if self._fetched is not None and now - self._fetched < REFETCH:
                return
            self._fetched = now
            try:
                document = await self._discovered()
                listed = (await self._read(document["jwks_uri"])).get("keys")
                keys = _usable(listed if isinstance(listed, list) else [])
            except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, StateUnavailable) as error:
                note(
                    log, logging.ERROR, "issuer out of reach", issuer=self.settings.issuer, reason=str(error)
                )
                return
            self._document, self._keys = document, keys

    async def _discovered(self) -> Mapping[str, str]:
        """OpenID Connect Discovery 1.0 section 4: what it says has to be about this very issuer."""
        url = self.settings.issuer.rstrip("/") + "/.well-known/openid-configuration"
        found = await self._read(url)
        if found.get("issuer") != self.settings.issuer:
            raise StateUnavailable(f"{url} speaks of another issuer")
        names = ("authorization_endpoint", "token_endpoint", "jwks_uri")
        return {name: issuer_url_with_query(found[name]) for name in names}

    async def _read(self, url: str) -> dict[str, Any]:
        async with self._http.stream("GET", url, headers={"accept": "application/json"}) as answer:
            return await _document(answer)

    # Log-in: RFC 6749 section 4.1 with PKCE (RFC 7636), OpenID Connect Core 1.0 section 3.1.

    async def leads_to(self, redirect: str, state: str, nonce: str, verifier: str) -> str:
        """Where a browser is sent to log in. Raises StateUnavailable."""
        document = await self._known()
        challenge = urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        query = {
            "response_type": "code", "client_id": self.settings.client_id, "redirect_uri": redirect,
            "scope": " ".join(self.settings.scopes), "state": state, "nonce": nonce,
            "code_challenge": challenge, "code_challenge_method": "S256",
        }  # fmt: skip
        where = document["authorization_endpoint"]
        return f"{where}{'&' if '?' in where else '?'}{urlencode(query)}"

    async def redeemed(self, code: str, redirect: str, nonce: str, verifier: str) -> Identity:
        """Who has logged in. Raises Unauthenticated and StateUnavailable."""
        document = await self._known()
        form = {
            "grant_type": "authorization_code", "code": code, "redirect_uri": redirect,
            "client_id": self.settings.client_id, "code_verifier": verifier,
        }  # fmt: skip
        login = httpx.BasicAuth(self.settings.client_id, self._secret) if self._secret else None
        try:
            async with self._http.stream(
                "POST",
                document["token_endpoint"],
                data=form,
                auth=login,
                headers={"accept": "application/json"},
            ) as answer:
                if answer.status_code in (400, 401):
                    raise Unauthenticated("the issuer does not know this log-in, or not any more: try again")
                found = await _document(answer)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise StateUnavailable(f"{self.settings.issuer} is out of reach: {error}") from error
        token = found.get("id_token")
        if not isinstance(token, str):
            raise Unauthenticated("the issuer sent no ID token")
        claims = await self._claims(token, self.settings.client_id)
        if claims.get("nonce") != nonce:
            raise Unauthenticated("the ID token is of another log-in")
        return self._person(claims)

    async def _known(self) -> Mapping[str, str]:
        if not self._document:
            await self._fetch()
        if not self._document:
            raise StateUnavailable(f"{self.settings.issuer} is out of reach; a token logs in without it")
        return self._document


def issuer_url_with_query(value: object) -> str:
    """An endpoint of the issuer: as `settings.auth.issuer_url`, a query allowed. Raises ValueError."""
    text = value if isinstance(value, str) else ""
    issuer_url(text.partition("?")[0])
    if not text.isprintable() or "#" in text:
        raise ValueError("an endpoint of the issuer is no URL")
    return text


async def _document(answer: httpx.Response) -> dict[str, Any]:
    """The JSON object of an answer. Raises ValueError and httpx.HTTPError."""
    if answer.status_code != 200:
        raise ValueError(f"{answer.url.host} answered {answer.status_code}")
    content = b""
    async for part in answer.aiter_bytes():
        content += part
        if len(content) > LARGEST:
            raise ValueError(f"{answer.url.host} answered more than {LARGEST} bytes")
    try:
        found = json.loads(content)
    except RecursionError as error:
        raise ValueError(f"{answer.url.host} answered lists in lists") from error
    if not isinstance(found, dict):
        raise ValueError(f"{answer.url.host} answered no JSON object")
    return found


def _usable(listed: list[object]) -> dict[str, RSAKey | ECKey | OKPKey]:
    """The keys that verify signatures, by id; shared secrets and weak keys are left out."""
    found: dict[str, RSAKey | ECKey | OKPKey] = {}
    kinds: dict[object, type[RSAKey] | type[ECKey] | type[OKPKey]] = {
        "RSA": RSAKey,
        "EC": ECKey,
        "OKP": OKPKey,
    }
    for number, one in enumerate(listed):
        try:
            if not isinstance(one, dict) or one.get("kty") not in kinds or one.get("use", "sig") != "sig":
                continue
            if one["kty"] == "RSA" and _bits(one["n"]) < WEAKEST_RSA:
                continue
            key = kinds[one["kty"]].import_key(one)
        except (JoseError, ValueError, TypeError, KeyError) as error:
            note(log, logging.WARNING, "a key of the issuer cannot be read", reason=type(error).__name__)
            continue
        kid = one.get("kid")
        found[kid if isinstance(kid, str) else f"number {number}"] = key
    return found


def _bits(number: str) -> int:
    """How long a number is (RFC 7518 section 6.3.1.1)."""
    return int.from_bytes(_decoded(number), "big").bit_length()


def _decoded(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _header(token: str) -> dict[str, Any]:
    """The header of a token in compact form, unverified: which key it names. Raises Unauthenticated."""
    first = token.partition(".")[0]
    try:
        if len(token) > LONGEST_TOKEN or token.count(".") != 2:
            raise ValueError("it is no token")
        found = json.loads(_decoded(first))
        if not isinstance(found, dict) or not isinstance(found.get("typ", "JWT"), str):
            raise ValueError("its header is none")
    except (ValueError, RecursionError) as error:
        raise Unauthenticated("this is no token") from error
    return found


def _instant(claims: Mapping[str, Any], name: str) -> float | None:
    """A NumericDate (RFC 7519 section 2); None: not given. Raises Unauthenticated when it is no number."""
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e12:
        raise Unauthenticated(f"{name} of the token is no time")
    return float(value)


def _at(claims: Mapping[str, Any], path: str) -> Any:
    """The claim at `path`: as it stands, or part by part (`realm_access.roles`)."""
    if path in claims:
        return claims[path]
    value: Any = claims
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value
