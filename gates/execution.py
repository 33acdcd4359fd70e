"""The gates of one endpoint of a configuration file, executed here: for the command line and for CI.

It takes no gateway: the file names the servers, and whatever the gates need is read from it.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from domain.errors import ConfigError, GateError, StateUnavailable
from gates import runner
from gates.following import Followed, fresh, placed
from gates.result import GateResult
from registry.rest import Rest
from registry.sources.mlflow import Mlflow
from settings.file import load
from settings.promotion import FollowSettings
from settings.schema import EndpointSettings, Settings
from settings.surroundings import registry_token


def execute(
    path: Path,
    name: str,
    begun: Callable[[str], None] = lambda gate: None,
    followed: tuple[str, str] | None = None,
) -> tuple[GateResult, ...]:
    """The results of the endpoint `name` in the file at `path`; `begun` hears each gate's name before it.

    `followed`: incumbent and candidate by the registry's numbers, "" for none; None: what its aliases
    name now, where the endpoint follows any. Raises ConfigError when the file is refused or has no such
    endpoint, and GateError when there is nothing to execute.
    """
    settings = load(path)
    try:
        endpoint = settings.endpoint(name)
    except KeyError:
        known = ", ".join(one.name for one in settings.endpoints)
        raise ConfigError("endpoints", name, f"the file at {path} has {known}") from None
    if endpoint.follow is not None:
        numbers = asyncio.run(_named(settings, endpoint.follow)) if followed is None else followed
        endpoint = placed(settings, {name: _standing(endpoint, *numbers)}).endpoint(name)
    lineage = runner.registered(settings, os.environ)
    return asyncio.run(runner.run(settings, endpoint, time.time, lineage, begun))


async def _named(settings: Settings, wanted: FollowSettings) -> tuple[str, str]:
    """Incumbent and candidate as their aliases name them now."""
    server = settings.registry.mlflow
    if server is None:
        raise ConfigError(
            "registry.mlflow.url", None, "give it: it is where the aliases are that are followed"
        )
    registry = Mlflow(Rest("MLflow", server, registry_token("mlflow", server, os.environ)))
    try:
        incumbent = "" if wanted.incumbent is None else await registry.named(wanted.model, wanted.incumbent)
        return incumbent or "", await registry.named(wanted.model, wanted.candidate) or ""
    except StateUnavailable as error:
        raise GateError(f"what to execute gates on is not known: {error}") from error
    finally:
        await registry.close()


def _standing(endpoint: EndpointSettings, incumbent: str, candidate: str) -> Followed:
    at = fresh(endpoint, None)
    return replace(at, standing=at.standing._replace(incumbent=incumbent, candidate=candidate))
