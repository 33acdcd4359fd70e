"""API tokens: what is kept of them, and how they are written. Pure.

A token is `pmn_ID_SECRET`: the id finds its record, the secret is 32 bytes from the system's random source,
in URL-safe Base64. Only the secret's SHA-256 is kept. A slow hash would protect secrets that people choose;
256 random bits cannot be guessed from their digest, and a digest is cheap enough that nobody can make the
control process work by guessing (docs/adr/0025-authentication.md).
"""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from hmac import compare_digest

from domain.errors import ConfigError
from domain.role import EVERYWHERE, ROLES, Grants, Role

PREFIX = "pmn"
ID_BYTES, SECRET_BYTES = 6, 32

VERSION = 1
RESERVED = frozenset(
    {
        "anonymous", "breaker", "drill", "flags", "gate", "guard", "operator", "plan", "process", "registry",
        "schedule", "stranger", "unleash",
    }
)  # fmt: skip
"""Actors of the audit chain that are nobody who could log in."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,63}")
_ENDPOINT = re.compile(r"\*|[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_TOKEN = re.compile(rf"{PREFIX}_(?P<id>[a-f0-9]{{{2 * ID_BYTES}}})_(?P<secret>[A-Za-z0-9_-]{{43}})")
_DIGEST = re.compile(r"[a-f0-9]{64}")
_KEYS = frozenset({"id", "name", "person", "sha256", "role", "endpoints", "created", "expires", "revoked"})


@dataclass(frozen=True, slots=True)
class Token:
    """What is kept of a token.

    Attributes:
        name: what its holder is called; of several tokens with one name one is in force.
        person: whose word counts when this token approves something; "": a program's, named `name`.
        digest: SHA-256 (hex) of the secret.
        created, expires, revoked: seconds since the epoch; None: never.
    """

    id: str
    name: str
    digest: str
    role: Role
    endpoints: tuple[str, ...]
    created: float
    expires: float | None = None
    revoked: float | None = None
    person: str = ""

    @property
    def grants(self) -> Grants:
        """What it may do."""
        return Grants(dict.fromkeys(self.endpoints, self.role))

    def stands(self, now: float) -> bool:
        """Whether it is neither revoked nor expired at `now`."""
        return self.revoked is None and (self.expires is None or now < self.expires)


def written(token: Token, secret: bytes) -> str:
    """The token as its holder gets it, once."""
    return f"{PREFIX}_{token.id}_{_text(secret)}"


def digest(secret: bytes) -> str:
    """What is kept of `secret`."""
    return sha256(_text(secret).encode()).hexdigest()


def looked_up(tokens: Mapping[str, Token], given: str, now: float) -> Token | None:
    """The token that `given` is, by its id and, in constant time, its secret; None when none stands."""
    parts = _TOKEN.fullmatch(given)
    if parts is None:
        return None
    found = tokens.get(parts["id"])
    kept = "-" * 64 if found is None else found.digest
    same = compare_digest(kept, sha256(parts["secret"].encode()).hexdigest())
    return found if found is not None and same and found.stands(now) else None


def holder(name: str, key: str = "name") -> str:
    """How the name of a holder is written. Raises ConfigError when it is none.

    >>> holder("Ada@Example.org")
    'ada@example.org'
    """
    found = name.lower() if name.isascii() else ""
    if not _NAME.fullmatch(found) or found in RESERVED:
        allowed = "1 to 64 ASCII letters, digits and . _ @ + -, a letter or digit first, and none of "
        raise ConfigError(key, name[:80], allowed + ", ".join(sorted(RESERVED)))
    return found


def decode(content: bytes, name: str) -> dict[str, Token]:
    """The tokens of a file, by id; `name` is what errors call the file. Raises ConfigError."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ConfigError(name, "", f"this is no JSON ({error}); let 'pointsman token' write it") from error
    if not isinstance(document, dict) or document.get("version") != VERSION:
        raise ConfigError(name, "", f"a tokens file says version {VERSION}; let 'pointsman token' write it")
    listed = document.get("tokens")
    if not isinstance(listed, list):
        raise ConfigError(f"{name}: tokens", listed, "a list; let 'pointsman token' write it")
    found: dict[str, Token] = {}
    for index, one in enumerate(listed):
        token = _token(one, f"{name}: tokens[{index}]")
        if token.id in found:
            raise ConfigError(f"{name}: tokens[{index}].id", token.id, "an id stands once")
        found[token.id] = token
    return found


def encode(tokens: Mapping[str, Token]) -> bytes:
    """The bytes of a file."""
    listed = [
        {
            "id": one.id, "name": one.name, "person": one.person, "sha256": one.digest,
            "role": one.role.word, "endpoints": list(one.endpoints), "created": one.created,
            "expires": one.expires, "revoked": one.revoked,
        }
        for one in tokens.values()
    ]  # fmt: skip
    return json.dumps({"version": VERSION, "tokens": listed}, indent=2).encode() + b"\n"


def _token(one: object, path: str) -> Token:
    if not isinstance(one, dict) or one.keys() - _KEYS or not _KEYS - {"person"} <= one.keys():
        keys = ", ".join(sorted(_KEYS))
        raise ConfigError(path, "", f"a token has the keys {keys}; let 'pointsman token' write it")
    endpoints = one["endpoints"]
    if not isinstance(endpoints, list) or not endpoints:
        raise ConfigError(f"{path}.endpoints", str(endpoints)[:80], f"names of endpoints, or {EVERYWHERE}")
    for endpoint in endpoints:
        _matching(f"{path}.endpoints", endpoint, _ENDPOINT, f"names of endpoints, or {EVERYWHERE}")
    role = one["role"]
    if not isinstance(role, str) or role not in ROLES:
        raise ConfigError(f"{path}.role", str(role)[:80], f"use {', '.join(ROLES)}")
    person = one.get("person", "")
    return Token(
        id=_matching(f"{path}.id", one["id"], re.compile(rf"[a-f0-9]{{{2 * ID_BYTES}}}"), "an id"),
        name=holder(_text_of(one["name"]), f"{path}.name"),
        digest=_matching(f"{path}.sha256", one["sha256"], _DIGEST, "64 hexadecimal digits"),
        role=ROLES[role],
        endpoints=tuple(endpoints),
        created=_instant(f"{path}.created", one["created"]) or 0.0,
        expires=_instant(f"{path}.expires", one["expires"]),
        revoked=_instant(f"{path}.revoked", one["revoked"]),
        person=holder(_text_of(person), f"{path}.person") if person else "",
    )


def _matching(path: str, value: object, pattern: re.Pattern[str], allowed: str) -> str:
    if isinstance(value, str) and pattern.fullmatch(value):
        return value
    raise ConfigError(path, "", allowed)  # never the value: it may be a secret in the wrong place


def _text_of(value: object) -> str:
    return value if isinstance(value, str) else ""


def _instant(path: str, value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e12:
        return float(value)
    raise ConfigError(path, str(value)[:80], "seconds since the epoch, or null")


def _text(secret: bytes) -> str:
    return urlsafe_b64encode(secret).rstrip(b"=").decode()
