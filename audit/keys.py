"""The key that signs tree heads: a file that only its owner may read, made when it is not there."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from domain.errors import ConfigError

SETTING = "audit.key"


def load_or_create(path: Path) -> Ed25519PrivateKey:
    """The private key (PEM, PKCS 8) in the file at `path`, made with mode 0600 when there is none; the
    public key stands beside it, in `path`.pub.

    Raises ConfigError when the file is open to others, holds no Ed25519 key, or cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _create(path)
        mode = path.stat().st_mode
        if stat.S_IMODE(mode) & 0o077:
            allowed = f"others may read it; run chmod 600 {path}, and make a new key if they did"
            raise ConfigError(SETTING, str(path), allowed)
        key = load_pem_private_key(path.read_bytes(), None)
    except OSError as error:
        raise ConfigError(SETTING, str(path), f"it can be neither read nor made: {error}") from error
    except (ValueError, TypeError) as error:
        raise ConfigError(SETTING, str(path), "name a file with an Ed25519 key in PEM, or none") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(SETTING, str(path), "the key in it is not an Ed25519 key")
    _publish(path, key)
    return key


def public(path: Path) -> bytes:
    """The Ed25519 public key (32 bytes) in the PEM file at `path`. Raises ConfigError."""
    try:
        key = load_pem_public_key(path.read_bytes())
    except OSError as error:
        raise ConfigError("--key", str(path), f"it cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError("--key", str(path), "name a file with a public key in PEM") from error
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigError("--key", str(path), "the key in it is not an Ed25519 key")
    return key.public_bytes_raw()


def _create(path: Path) -> None:
    """Another replica may do the same at this moment: the key is whole before it has its name, and the first
    name stands."""
    if path.exists():
        return
    key = Ed25519PrivateKey.generate()
    content = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # its mode is 0600
    drafted = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(drafted, path)
        except FileExistsError:
            return
    finally:
        drafted.unlink()


def _publish(path: Path, key: Ed25519PrivateKey) -> None:
    content = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    beside = path.with_name(f"{path.name}.pub")
    try:
        if not beside.exists() or beside.read_bytes() != content:
            beside.write_bytes(content)
    except OSError as error:
        raise ConfigError(SETTING, str(beside), f"the public key cannot be written: {error}") from error
