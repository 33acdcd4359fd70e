"""Reading the keys that webhooks are signed with, by the Standard Webhooks specification 1.0.0."""

from __future__ import annotations

from base64 import b64decode
from binascii import Error as NotBase64

PREFIX = "whsec_"
SHORTEST = 24
"""Bytes of a key; the specification wants 24 to 64."""

MOST_KEYS = 4


def keys(secret: str) -> tuple[bytes, ...]:
    """The keys in `secret`. Raises ValueError, which never quotes it."""
    found = tuple(map(_key, secret.split()))
    if not 1 <= len(found) <= MOST_KEYS:
        raise ValueError(f"it holds 1 to {MOST_KEYS} keys, separated by blanks")
    return found


def _key(text: str) -> bytes:
    try:
        key = (
            b64decode(text.removeprefix(PREFIX), validate=True) if text.startswith(PREFIX) else text.encode()
        )
    except (NotBase64, ValueError) as error:
        raise ValueError("what follows whsec_ has to be Base64") from error
    if len(key) < SHORTEST:
        raise ValueError(f"a signing key has {SHORTEST} bytes at least")
    return key
