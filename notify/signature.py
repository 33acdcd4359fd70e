"""Signatures of webhooks by the Standard Webhooks specification 1.0.0, symmetric scheme `v1`: pure.

The signed content is `id.timestamp.body`; the key is what stands behind `whsec_` in Base64, or the bytes of a
secret without that prefix. During a rotation the secret holds two keys, separated by a blank: both sign, and
the receiver takes the one it knows.
"""

from __future__ import annotations

import hmac
from base64 import b64encode
from hashlib import sha256


def signed(signing: tuple[bytes, ...], notice: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The three header fields of a message; `timestamp` is of this attempt, seconds since the epoch."""
    content = b"%b.%d.%b" % (notice.encode(), timestamp, body)
    values = (b64encode(hmac.digest(key, content, sha256)).decode() for key in signing)
    return {
        "webhook-id": notice,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{value}" for value in values),
    }
