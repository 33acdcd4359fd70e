"""The flag file: a document in Unleash's JSON format that an operator edits or the API writes.

Editors replace the file by rename, Kubernetes switches a symbolic link above it, a copy is seen half-written,
a deployment removes it for a moment. A good file is served from then on; for a bad one `read` refuses with a
reason, `document` still holds the last good content, and `changed` reports the next change. Nobody's exposure
ends because somebody saves a file.
"""

from __future__ import annotations

import os
import secrets
import stat
import time
from pathlib import Path

from domain.errors import ConfigError, StateUnavailable
from routing.document import LARGEST, client_features
from routing.exposure import check

_UNSETTLED = 100_000_000
"""Nanoseconds. Two writes that are closer than a file system's time stamps may leave the same stamp (git
calls such a file racy), so a file that was written this shortly before it was read is read once more."""

Identity = tuple[int, int, int, int, int]


class FlagFile:
    """One flag file.

    Attributes:
        path: as configured. A symbolic link is followed at every look, and kept when the file is written.
        document: the last good content, in client-features format; None before the first.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.document: bytes | None = None
        self._seen: Identity | None = None
        self._looked = False
        self._settled = True

    def __repr__(self) -> str:
        content = "unread" if self.document is None else f"{len(self.document)} bytes"
        return f"<FlagFile {self.path} {content}>"

    def read(self) -> bytes:
        """The content now, checked, in client-features format.

        Raises:
            ConfigError: the file cannot be read or does not compile. `document` is still the last good one.
        """
        self._looked = True
        self._seen = None
        raw = self._content()
        try:
            document = client_features(raw)
            check(document)
        except ConfigError as error:
            raise ConfigError(f"{self.path}: {error.path}", error.value, error.allowed) from error
        self.document = document
        return document

    def changed(self) -> bool:
        """Whether a `read` may give something else than the last one did: one stat, for a poller.

        A file that vanished has changed once; `read` then says so.
        """
        if not self._looked or not self._settled:
            return True
        try:
            return _identity(os.stat(self.path)) != self._seen
        except OSError:
            return self._seen is not None

    def write(self, document: bytes) -> None:
        """Check `document`, then replace the file in one step, durable on return. Mode and links are kept.

        Raises:
            ConfigError: the document does not compile; the file is as it was.
            StateUnavailable: the file cannot be written.
        """
        check(document)
        target = Path(os.path.realpath(self.path))
        beside = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
        try:
            _write_synced(beside, document, _mode(target))
            os.replace(beside, target)
            _sync_folder(target.parent)
        except OSError as error:
            beside.unlink(missing_ok=True)
            raise StateUnavailable(f"the flag file {self.path} cannot be written: {error}") from error

    def _content(self) -> bytes:
        try:
            # A FIFO would block an ordinary open for ever.
            handle = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            with open(handle, "rb") as file:
                # Taken before the content: a write in between makes the file look changed again.
                status = os.fstat(handle)
                if not stat.S_ISREG(status.st_mode):
                    raise ConfigError("flags.path", str(self.path), "name a regular file")
                self._seen = _identity(status)
                self._settled = not 0 <= time.time_ns() - status.st_mtime_ns < _UNSETTLED
                content = file.read(LARGEST + 1)
        except OSError as error:
            self._settled = True
            allowed = f"the flag file must be readable: {error.strerror or error}"
            raise ConfigError("flags.path", str(self.path), allowed) from error
        return content


def _identity(status: os.stat_result) -> Identity:
    return status.st_mtime_ns, status.st_size, status.st_ino, status.st_dev, status.st_ctime_ns


def _mode(target: Path) -> int | None:
    try:
        return stat.S_IMODE(os.stat(target).st_mode)
    except FileNotFoundError:
        return None


def _write_synced(path: Path, content: bytes, mode: int | None) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    handle = os.open(path, flags, 0o666 if mode is None else 0o600)
    with open(handle, "wb") as file:
        if mode is not None:
            os.fchmod(handle, mode)
        file.write(content)
        file.flush()
        os.fsync(handle)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
