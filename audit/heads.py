"""Signed tree heads: 32 bytes that commit to every record so far, to be kept where this host cannot reach.

Whoever owns the store can rewrite the chain from any record on; nothing inside it can show that. A head that
was taken earlier and is kept elsewhere (another machine, a log service, a printed page) does: a chain that
does not lead through it is not the chain that was there. The signature says who took the head, so that the
heads themselves need no safe place, only one that keeps them.

Source: Ed25519, RFC 8032; the tree: RFC 9162.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from hashlib import sha256

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from audit import canonical

_CONTEXT = b"pointsman audit head 1\n"
"""Signed before the head itself, so that no signature of something else can pass for one."""


@dataclass(frozen=True, slots=True)
class Head:
    """The chain after its first `size` records.

    Attributes:
        at: when it was taken, microseconds since the epoch.
        chain: the hash of record `size`.
        key: the Ed25519 public key (32 bytes) that signed it.
        root: the root of the Merkle tree over those records.
        signature: over everything else.
    """

    size: int
    root: bytes
    chain: bytes
    at: int
    key: bytes
    signature: bytes

    def line(self) -> bytes:
        """As one line of JSON, without its end."""
        return canonical.encode({**_signed(self), "signature": self.signature.hex()})

    @property
    def genuine(self) -> bool:
        """Whether the owner of `key` signed it."""
        try:
            Ed25519PublicKey.from_public_bytes(self.key).verify(self.signature, _message(self))
        except (InvalidSignature, ValueError):
            return False
        return True


class HeadError(ValueError):
    """A file of heads cannot be relied upon; the message says which line, and why."""


def sign(key: Ed25519PrivateKey, *, size: int, root: bytes, chain: bytes, at: int) -> Head:
    """The head signed by `key`."""
    bare = Head(size, root, chain, at, key.public_key().public_bytes_raw(), b"")
    return Head(size, root, chain, at, bare.key, key.sign(_message(bare)))


def read(lines: Iterable[bytes], trusted: Collection[bytes] = ()) -> tuple[Head, ...]:
    """The heads that stand in `lines`; blank lines are passed over. `trusted`: the keys that may sign, any
    when it is empty. Raises HeadError for the first line that is no head, or not signed as it says.
    """
    found: list[Head] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            head = decode(line)
        except ValueError as error:
            raise HeadError(f"line {number}: {error}") from error
        if not head.genuine:
            raise HeadError(f"line {number}: the signature of the head of size {head.size} is wrong")
        if trusted and head.key not in trusted:
            raise HeadError(f"line {number}: signed by {fingerprint(head.key)}, which is not trusted")
        found.append(head)
    return tuple(found)


def decode(line: bytes) -> Head:
    """The head in one line. Raises ValueError."""
    try:
        held = orjson.loads(line)
        return Head(
            int(held["size"]), _bytes(held["root"]), _bytes(held["chain"]), int(held["at"]),
            _bytes(held["key"]), bytes.fromhex(held["signature"]),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"this is no head of an audit tree ({error})") from error


def fingerprint(key: bytes) -> str:
    """A short name of a public key, for people."""
    return sha256(key).hexdigest()[:16]


def _bytes(text: str) -> bytes:
    found = bytes.fromhex(text)
    if len(found) != 32:
        raise ValueError(f"{len(found)} bytes where 32 are expected")
    return found


def _signed(head: Head) -> dict[str, object]:
    return {
        "at": head.at,
        "chain": head.chain.hex(),
        "key": head.key.hex(),
        "root": head.root.hex(),
        "size": head.size,
    }


def _message(head: Head) -> bytes:
    return _CONTEXT + canonical.encode(_signed(head))
