"""What `pointsman check` looks at: the configuration and the flag file that it names."""

from __future__ import annotations

import os
from pathlib import Path

from domain.errors import ConfigError
from domain.reference import Registry
from registry.sources import file as lineage_file
from routing import document as flag_document
from routing import exposure
from settings import file, parse
from settings.schema import Settings
from settings.surroundings import demand

Review = tuple[Settings | None, tuple[ConfigError, ...], tuple[str, ...]]


def review(path: Path) -> Review:
    """The settings (None when they are unusable), every problem, and warnings, for the file at `path`.

    Looks only: nothing is contacted or written, so that it can run where no gateway does.
    """
    try:
        document = file.document(path)
    except ConfigError as error:
        return None, (error,), ()
    problems = parse.problems(document)
    if problems:
        return None, problems, ()
    settings = parse.parse(document)
    inert = tuple(f"{key}: accepted, not acted upon by this version" for key in settings.inert)
    try:
        demand(settings, os.environ)
    except ConfigError as error:  # a gateway may have what this shell has not
        inert += (f"not here: {error}",)
    inert += _lineage(settings)
    if settings.flags_path is None:
        return settings, (), inert
    try:
        known = _flags(Path(settings.flags_path))
    except ConfigError as error:
        return settings, (error,), inert
    missing = tuple(
        f"endpoints.{one.name}.flag: {settings.flags_path} has no {one.flag!r}: nobody sees the candidate"
        for one in settings.endpoints
        if one.flag is not None and one.flag not in known
    )
    return settings, (), inert + missing


def _lineage(settings: Settings) -> tuple[str, ...]:
    """Warnings about the lineage file and what versions want of it: a gateway would serve all the same."""
    if settings.registry.path is None:
        return ()
    try:
        known = lineage_file.read(Path(settings.registry.path))
    except ConfigError as error:
        return (f"{error}: no version gets lineage from it",)
    return tuple(
        f"endpoints.{one.name}.{arm}: {settings.registry.path} has no {reference.name!r}: no lineage"
        for one in settings.endpoints
        for arm, references in (("incumbent", one.incumbent_lineage), ("candidate", one.candidate_lineage))
        for reference in references
        if reference.registry is Registry.FILE and reference.name not in known
    )


def _flags(path: Path) -> frozenset[str]:
    """The names of the flags in the file; raises ConfigError when the gateway would refuse it."""
    try:
        content = path.read_bytes()
    except OSError as error:
        allowed = f"the flag file cannot be read: {error.strerror}"
        raise ConfigError("flags.path", str(path), allowed) from error
    try:
        exposure.check(content)
        return frozenset(flag_document.parse(content).flags)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error.path}", error.value, error.allowed) from error
