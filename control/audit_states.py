"""The live state of endpoints as the audit chain records it: versions, weight, flag, configuration."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Protocol

import orjson

from domain.errors import ConfigError
from gates.plan import Progress
from routing.excerpt import excerpt
from settings.schema import EndpointSettings, Settings, Stage

State = Mapping[str, object]


class Trial(Protocol):
    """An endpoint as it runs: what a judge knows of it."""

    settings: EndpointSettings
    progress: Progress

    @property
    def release(self) -> str:
        """The release on trial."""
        ...

    @property
    def stage(self) -> Stage:
        """What the candidate gets."""
        ...


class FlagStates:
    """What the flag document says of each flag, worked out once for each document.

    The rules of a flag may name users, so that the chain gets their digest only.
    """

    def __init__(self) -> None:
        self._document = b""
        self._states: dict[str, State] = {}

    def of(self, document: bytes, flag: str) -> State:
        """`flag` in `document`, which is in Unleash's client-features format."""
        if document is not self._document:
            self._document, self._states = document, {}
        if flag not in self._states:
            self._states[flag] = _flag(document, flag)
        return self._states[flag]


def endpoints(
    settings: Settings, trials: Mapping[str, Trial], flags: bytes, known: FlagStates
) -> dict[str, State]:
    """The state of every endpoint that `settings` name."""
    return {
        one.name: _endpoint(one, trials[one.name], flags, known, settings.digest)
        for one in settings.endpoints
        if one.name in trials
    }


def _endpoint(
    settings: EndpointSettings, trial: Trial, flags: bytes, known: FlagStates, digest: str
) -> dict[str, object]:
    state: dict[str, object] = {
        "path": settings.path,
        "incumbent": settings.incumbent.name,
        "candidate": None,
        "flag": None if settings.flag is None else known.of(flags, settings.flag),
        "configuration": digest,
    }
    if settings.candidate is not None:
        stage = trial.stage
        state |= {
            "candidate": settings.candidate.name,
            "release": trial.release,
            "stage": trial.progress.stage,
            "mode": stage.mode.value,
            "weight": stage.weight,
        }
    return state


def _flag(document: bytes, flag: str) -> dict[str, object]:
    try:
        found = excerpt(document, [flag])
    except ConfigError as error:
        return {"name": flag, "enabled": False, "digest": "", "problem": str(error)}
    features = orjson.loads(found.document)["features"]
    enabled = any(one["enabled"] for one in features if one["name"] == flag)
    return {"name": flag, "enabled": enabled, "digest": sha256(found.document).hexdigest()}
