"""Compiled twins of the modules that every request passes through.

Where a C compiler was at hand when Pointsman was installed, `hatch_build.py` compiled them, with mypyc, into
the folder `compiled`. A worker asks for them before it imports anything else; everything else in Pointsman,
and a worker that has none, runs the same source as Python. There is one source: a twin whose source has
changed since is not used. `POINTSMAN_ACCELERATOR=off` uses none.

The extensions of BESIDE are compiled too, and lie beside their source: `gateway.head` and `gateway.plain` ask
for them by `extension`, which gives none whose source has changed since.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

MODULES = (
    "domain.members", "gateway.breaker", "gateway.chunks", "gateway.client", "gateway.counters",
    "gateway.drill", "gateway.ejection", "gateway.exchange", "gateway.fields", "gateway.guarded",
    "gateway.head", "gateway.message", "gateway.mirror", "gateway.pool", "gateway.queue",
    "gateway.recording", "gateway.records", "gateway.servers", "gateway.service",
    "gateway.standing", "gateway.upstream", "gateway.watched", "gateway.worker",
    "routing.exposure", "routing.hashing", "routing.strategies", "routing.table", "shadow.outbox",
    "shadow.pairing", "shadow.sampler",
)  # fmt: skip
EXTENSIONS = ("routing._murmur", "shadow._mirrored")
"""Written in Cython, and found only where the twins are: what imports them does without them elsewhere."""
BESIDE = ("gateway._scan", "gateway._transport") if sys.platform == "linux" else ("gateway._scan",)
"""Written in Cython, for every process; the transport is Linux's, by epoll."""
GROUP = "pointsman"
"""The modules call each other without Python in between, so they live in one library of this name."""
FOLDER = Path(__file__).parent / "compiled"
MANIFEST = "manifest.json"


def wanted() -> bool:
    """Whether the environment lets compiled code be used, and built."""
    return os.environ.get("POINTSMAN_ACCELERATOR", "on") != "off"


def source(module: str) -> Path:
    """Where the source of `module` is."""
    suffix = ".py" if module in MODULES else ".pyx"
    return Path(__file__).parents[1].joinpath(*module.split(".")).with_suffix(suffix)


def beside(module: str) -> Path:
    """Where what is compiled of `module`, one of BESIDE, lies."""
    return source(module).with_name(module.rpartition(".")[2] + EXTENSION_SUFFIXES[0])


def digests() -> dict[str, str]:
    """What everything was, or is to be, made of."""
    return {module: _digest(module) for module in (*MODULES, *EXTENSIONS, *BESIDE)}


def _digest(module: str) -> str:
    return hashlib.sha256(source(module).read_bytes()).hexdigest()


def made_of(folder: Path = FOLDER) -> dict[str, str]:
    """What was compiled, by module: the digest of its source; nothing where that is not known."""
    try:
        manifest: object = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return {}
    return manifest if isinstance(manifest, dict) else {}


def usable(folder: Path = FOLDER) -> bool:
    """Whether `folder` has a twin of every module as it is now, and the environment wants them."""
    return (
        wanted() and made_of(folder) == digests() and all(file.is_file() for file in _files(folder).values())
    )


def extension(module: str, folder: Path = FOLDER) -> Any:
    """What was compiled of `module`, one of BESIDE; None where there is nothing that can be used.

    That is: nothing was compiled here, it was compiled from another source, or the environment wants none.
    """
    if not wanted() or not beside(module).is_file() or made_of(folder).get(module) != _digest(module):
        return None
    try:
        return importlib.import_module(module)
    except ImportError:  # of another Python, or a C library that is not here
        return None


def stale(folder: Path = FOLDER) -> list[str]:
    """What lies here compiled from another source than is here now; nobody uses it."""
    if not wanted():
        return []
    compiled = made_of(folder)
    twins = compiled.keys() - set(BESIDE)
    lying = [*sorted(twins), *(module for module in BESIDE if beside(module).is_file())]
    now = digests()
    return [module for module in lying if compiled.get(module) != now.get(module)]


def _files(folder: Path) -> dict[str, Path]:
    return {
        name: folder / f"{name}{EXTENSION_SUFFIXES[0]}" for name in (*MODULES, *EXTENSIONS, f"{GROUP}__mypyc")
    }


def install(folder: Path = FOLDER) -> bool:
    """Have the modules imported from now on come as their compiled twins; whether there are any.

    Must come before any of them is imported.
    """
    if not usable(folder):
        return False
    early = [module for module in MODULES if module in sys.modules]
    if early:
        raise ImportError(f"imported before the accelerator was installed: {', '.join(early)}")
    sys.meta_path.insert(0, _Twins(_files(folder)))
    return True


class _Twins(MetaPathFinder):
    """Finds `files`, by module name."""

    def __init__(self, files: dict[str, Path]) -> None:
        self._files = files

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """See importlib.abc.MetaPathFinder."""
        file = self._files.get(fullname)
        if file is None:
            return None
        loader = ExtensionFileLoader(fullname, str(file))
        return spec_from_file_location(fullname, file, loader=loader)
