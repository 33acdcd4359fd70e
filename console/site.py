"""The web console's files: read once, named by their digest, handed out as bytes.

Every file's address holds the digest of them all, so it never changes what it leads to and may be kept for
ever; imports between modules are relative and so stay within one digest. Only the page itself is asked for
again each time. The stylesheets become one, in the order of their names, and what the page loads first is
announced in it, so that a browser asks for all of it at once.
"""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

from domain.errors import ConfigError

FOLDER = Path(__file__).parent / "web"
ENTRANCE = "main.js"
STYLE = "style.css"

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

SMALL = 512
"""Bytes below which compressing is not worth it."""

_IMPORT = re.compile(r"""^(?:import|export)\b[^'"]*?from\s+"(\.[^"]+)";""", re.MULTILINE)


class Asset(NamedTuple):
    """A file: its bytes, the same gzipped ("" where that is not worth it), media type and digest."""

    body: bytes
    gzipped: bytes
    media_type: str
    digest: str


class Site(NamedTuple):
    """The page, and by their paths what it loads from `assets/DIGEST/`."""

    page: Asset
    assets: Mapping[str, Asset]
    digest: str


@cache
def site() -> Site:
    """The console as it is installed."""
    return read(FOLDER)


def read(folder: Path) -> Site:
    """The console in `folder`. Raises ConfigError when it is not all there."""
    found = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.suffix in TYPES and path.is_file()
    }
    if not {"index.html", ENTRANCE} <= found.keys():
        raise ConfigError(str(folder), sorted(found), "the console's files: install Pointsman again")
    sheets = [name for name in found if name.endswith(".css")]
    page = found.pop("index.html").decode()
    files = {name: body for name, body in found.items() if name not in sheets}
    files[STYLE] = b"\n".join(found[name] for name in sheets)
    digest = _digest(b"".join(b"%b\0%b\0" % (name.encode(), body) for name, body in sorted(files.items())))
    preloads = "\n    ".join(
        f'<link rel="modulepreload" href="assets/{digest}/{name}">' for name in loaded(files, ENTRANCE)
    )
    page = page.replace("{preloads}", preloads).replace("{digest}", digest)
    return Site(
        _asset("index.html", page.encode()),
        {name: _asset(name, body) for name, body in files.items()},
        digest,
    )


def loaded(files: Mapping[str, bytes], entrance: str) -> list[str]:
    """The modules that `entrance` imports, and they in turn; not those that are loaded on demand."""
    found = {entrance: None}
    waiting = [entrance]
    while waiting:
        module = waiting.pop()
        for wanted in _IMPORT.findall(files[module].decode()):
            name = _resolved(module, wanted)
            if name in files and name not in found:
                found[name] = None
                waiting.append(name)
    return [name for name in found if name != entrance]


def _resolved(module: str, wanted: str) -> str:
    parts = module.split("/")[:-1]
    for step in wanted.split("/"):
        if step == "..":
            parts.pop()
        elif step != ".":
            parts.append(step)
    return "/".join(parts)


def _asset(name: str, body: bytes) -> Asset:
    gzipped = gzip.compress(body, 9, mtime=0) if len(body) >= SMALL else b""
    return Asset(body, gzipped, TYPES[Path(name).suffix], _digest(body))


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()[:16]
