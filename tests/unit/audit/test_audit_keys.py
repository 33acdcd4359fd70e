"""The key that signs heads: made once, for its owner alone."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from audit import keys
from domain.errors import ConfigError


def test_a_key_is_made_for_its_owner_alone_and_found_again(tmp_path: Path) -> None:
    path = tmp_path / "var" / "audit.key"
    made = keys.load_or_create(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = keys.load_or_create(path)
    assert again.private_bytes_raw() == made.private_bytes_raw()
    assert keys.public(Path(f"{path}.pub")) == made.public_key().public_bytes_raw()
    assert sorted(one.name for one in path.parent.iterdir()) == ["audit.key", "audit.key.pub"]


def test_of_several_that_make_it_at_once_all_get_the_same(tmp_path: Path) -> None:
    found: list[Ed25519PrivateKey] = []
    threads = [
        threading.Thread(target=lambda: found.append(keys.load_or_create(tmp_path / "audit.key")))
        for _ in range(8)
    ]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(found) == 8
    assert len({one.private_bytes_raw() for one in found}) == 1


def test_a_key_that_others_may_read_is_refused_with_the_way_out(tmp_path: Path) -> None:
    path = tmp_path / "audit.key"
    keys.load_or_create(path)
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        keys.load_or_create(path)


def test_a_file_that_holds_no_such_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "audit.key"
    path.write_text("not a key")
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="Ed25519 key in PEM"):
        keys.load_or_create(path)
    other = X25519PrivateKey.generate()
    path.write_bytes(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(ConfigError, match="not an Ed25519 key"):
        keys.load_or_create(path)
    with pytest.raises(ConfigError, match="public key in PEM"):
        keys.public(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        keys.public(tmp_path / "none.pub")
