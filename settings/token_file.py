"""The tokens file on disk: read whole, replaced whole, by one writer at a time, and by its owner only."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from domain.errors import ConfigError
from settings import tokens
from settings.tokens import Token

LARGEST = 4 * 1024 * 1024
"""Bytes of a tokens file."""

KEY = "auth.tokens_file"


def read(path: Path) -> dict[str, Token]:
    """The tokens in the file at `path`, by id. Raises ConfigError, also when others may write it."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would be waited for
            raise ConfigError(KEY, str(path), "it is no file")
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(LARGEST + 1)
    except FileNotFoundError as error:
        raise ConfigError(
            KEY, str(path), "there is no such file; 'pointsman token create NAME --role ROLE' makes it"
        ) from error
    except OSError as error:
        raise ConfigError(KEY, str(path), f"the file cannot be read: {error.strerror}") from error
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        allowed = "others than its owner may write it, and so give themselves any role: chmod 600"
        raise ConfigError(KEY, f"{path} with mode {stat.S_IMODE(mode):o}", allowed)
    if len(content) > LARGEST:
        raise ConfigError(KEY, str(path), f"a tokens file has at most {LARGEST} bytes")
    return tokens.decode(content, str(path))


@contextmanager
def changing(path: Path) -> Iterator[dict[str, Token]]:
    """The tokens at `path`, to be changed: what they are at the end is written, atomically, with mode 600.

    Nobody else changes them meanwhile. Raises ConfigError.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(KEY, str(path), f"the folder cannot be written: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = read(path) if path.exists() else {}
        yield found
        try:
            _replace(path, tokens.encode(found))
        except OSError as error:
            raise ConfigError(KEY, str(path), f"the file cannot be written: {error.strerror}") from error
    finally:
        os.close(lock)


def _replace(path: Path, content: bytes) -> None:
    fresh = path.with_name(f"{path.name}.{os.getpid()}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
