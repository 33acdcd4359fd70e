"""DVC: what a stage of a pipeline read and wrote, from `dvc.lock` at a revision of a git repository.

`dvc.lock` is plain YAML and is kept in git, so that git alone is asked and DVC is not needed. A dependency
that git does not keep at that commit is data; one that it keeps is code, which the commit names already. What
the stage writes is the model, but for metrics and plots, which `dvc.yaml` tells apart; metrics that git keeps
are read. Parameters are hyperparameters.

Git is asked by plumbing commands that run no filter, no pager and no hook, fetch nothing, and end in seconds.

Source: dvc.org/doc/user-guide/project-structure/dvcyaml-files (dvc.lock, schema 2.0).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import PurePosixPath
from typing import NamedTuple

import orjson

from domain.errors import ConfigError, LineageUnknown, StateUnavailable
from domain.lineage import Dataset, Lineage
from domain.reference import Reference
from registry import fields
from settings import file

DEADLINE = 5.0
"""Seconds for one command."""

_LARGEST = 1024 * 1024
_LARGEST_METRICS = 64 * 1024
_QUIET = {"GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1", "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}


class _Commit(NamedTuple):
    commit: str
    author: str
    at: float | None


class Dvc:
    """The git repository in the folder `repository`."""

    def __init__(self, repository: str) -> None:
        self._repository = repository

    async def lookup(self, reference: Reference) -> Lineage:
        """See `LineageSource`."""
        place, _, stage = reference.name.rpartition("dvc.lock:")
        folder = PurePosixPath(place)
        made = await self._commit(reference.revision)
        lock = await self._yaml(made.commit, folder / "dvc.lock")
        if lock is None:
            raise LineageUnknown(f"{reference}: there is no {folder / 'dvc.lock'} at that revision")
        found = fields.mapping(lock, "stages", stage)
        if not found:
            raise LineageUnknown(f"{reference}: {folder / 'dvc.lock'} has no stage {stage!r}")
        written = fields.mapping(await self._yaml(made.commit, folder / "dvc.yaml"), "stages", stage)
        measured = set(_paths(written.get("metrics")))
        aside = measured | set(_paths(written.get("plots")))
        return Lineage(
            source=str(reference),
            version=made.commit,
            datasets=tuple([one async for one in self._data(made.commit, folder, found)]),
            commit=made.commit,
            repository=await self._origin(),
            hyperparameters=fields.hyperparameters(_parameters(found)),
            metrics=fields.metrics(await self._metrics(made.commit, folder, sorted(measured))),
            created=made.at,
            artifact_digest=_artifact(found, aside),
            author=made.author,
        )

    async def close(self) -> None:
        """Nothing is held open."""

    async def _commit(self, revision: str) -> _Commit:
        asked = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
        code, output, told = await self._git(*asked)
        if code == 1 or (code and not told):
            raise LineageUnknown(f"{self._repository} has no revision {revision!r}")
        if code:
            raise StateUnavailable(f"git in {self._repository}: {told}")
        commit = output.decode().strip()
        _, shown, _ = await self._git("log", "-1", "--format=%an%x00%cI", "--end-of-options", commit)
        author, _, at = shown.decode("utf-8", "replace").strip().partition("\0")
        return _Commit(commit, fields.bounded(author), fields.instant(at))

    async def _data(self, commit: str, folder: PurePosixPath, stage: object) -> AsyncIterator[Dataset]:
        for one in fields.mappings(stage, "deps"):
            path = fields.text(one, "path")
            code, listed, told = await self._git("ls-tree", "--name-only", commit, "--", str(folder / path))
            if code:
                raise StateUnavailable(f"git in {self._repository}: {told}")
            if path and not listed:
                yield Dataset(name=path, version=commit, digest=_digest(one), location=str(folder / path))

    async def _metrics(
        self, commit: str, folder: PurePosixPath, paths: list[str]
    ) -> list[tuple[str, object]]:
        found: list[tuple[str, object]] = []
        for path in paths:
            content = await self._blob(commit, folder / path)
            if content is not None and len(content) <= _LARGEST_METRICS:
                found += _flat("", await asyncio.to_thread(_decoded, path, content))
        return found

    async def _origin(self) -> str:
        code, output, _ = await self._git("config", "--get", "remote.origin.url")
        return "" if code else fields.location(output.decode("utf-8", "replace").strip())

    async def _yaml(self, commit: str, path: PurePosixPath) -> object:
        """The YAML file at `path`, None where there is none. Raises ConfigError."""
        content = await self._blob(commit, path)
        return None if content is None else await asyncio.to_thread(file.decode, content, f"{commit}:{path}")

    async def _blob(self, commit: str, path: PurePosixPath) -> bytes | None:
        code, content, told = await self._git("cat-file", "blob", f"{commit}:{path}")
        if code and "does not exist in" not in told and "not a valid object name" not in told.lower():
            raise StateUnavailable(f"git in {self._repository}: {told}")
        return None if code else content

    async def _git(self, *arguments: str) -> tuple[int, bytes, str]:
        """Exit code, output, and what was said about it. Raises StateUnavailable."""
        command = ("git", "-C", self._repository, "--no-pager", "--literal-pathspecs", *arguments)
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=os.environ | _QUIET,
            )
        except OSError as error:
            raise StateUnavailable(f"git cannot be started: {error.strerror}") from error
        try:
            async with asyncio.timeout(DEADLINE):
                output, errors = await process.communicate()
        except TimeoutError as error:
            raise StateUnavailable(f"git in {self._repository} took longer than {DEADLINE:g} s") from error
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if len(output) > _LARGEST:
            raise StateUnavailable(f"git in {self._repository} shows more than {_LARGEST} bytes")
        return process.returncode or 0, output, errors.decode("utf-8", "replace").strip()[:300]


def _digest(entry: object) -> str:
    """`md5:HEX`; DVC writes the name of the hash as the key, a folder's digest ends in `.dir`."""
    kind = fields.text(entry, "hash") or "md5"
    value = fields.text(entry, kind)
    return f"{kind}:{value}" if value else ""


def _artifact(stage: object, aside: set[str]) -> str:
    """The digest of the one thing that the stage wrote, or of the list of several."""
    written = {
        fields.text(one, "path"): _digest(one)
        for one in fields.mappings(stage, "outs")
        if fields.text(one, "path") not in aside
    }
    if len(written) == 1:
        return next(iter(written.values()))
    return fields.digest_of(written) if written and all(written.values()) else ""


def _parameters(stage: object) -> Iterator[tuple[str, object]]:
    for path, values in fields.mapping(stage, "params").items():
        prefix = "" if path == "params.yaml" else f"{path}:"
        for name, value in values.items() if isinstance(values, dict) else ():
            yield f"{prefix}{name}", value


def _paths(listed: object) -> Iterator[str]:
    """`dvc.yaml` lists paths, or mappings of one path to its options."""
    for one in listed if isinstance(listed, list) else ():
        if isinstance(one, str):
            yield one
        elif isinstance(one, dict):
            yield from one


def _decoded(path: str, content: bytes) -> object:
    """Metrics are JSON or YAML; a file that is neither says nothing here."""
    try:
        return orjson.loads(content) if path.endswith(".json") else file.decode(content, path)
    except (orjson.JSONDecodeError, ConfigError):
        return None


def _flat(prefix: str, value: object) -> list[tuple[str, object]]:
    """Numbers by their dotted path."""
    if not isinstance(value, Mapping):
        return [(prefix, value)] if prefix else []
    found: list[tuple[str, object]] = []
    for name, inner in value.items():
        found += _flat(f"{prefix}.{name}".strip("."), inner)
    return found
