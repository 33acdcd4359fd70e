"""Who has to agree to a release, and which registry it follows, as frozen types."""

from __future__ import annotations

from dataclasses import dataclass

WEEK = 604_800.0


@dataclass(frozen=True, slots=True)
class ApprovalSettings:
    """`people`: how many have to approve a release before its first stage; `valid_for`: seconds that an
    approval counts."""

    people: int = 0
    valid_for: float = WEEK


@dataclass(frozen=True, slots=True)
class FollowSettings:
    """What an endpoint takes from a model registry. In templates `{name}` stands for the model and
    `{version}` for the registry's version.

    Attributes:
        model: the registered model.
        candidate: the alias that names the candidate.
        incumbent: the alias that names the incumbent; None: the incumbent is the configured one.
        version: template of a version's name here.
        urls: templates of the base URLs of its servers.
        path: template of the path on its servers; None: the endpoint's.
        health: template of what is asked for with GET at each URL before a version is used; None: any answer
            will do.
        settle: seconds that an alias has to name the same version before it is followed.
        promote: whether the incumbent's alias is moved to a version that has been released.
    """

    model: str
    candidate: str
    incumbent: str | None
    version: str
    urls: tuple[str, ...]
    path: str | None = None
    health: str | None = None
    settle: float = 10.0
    promote: bool = False
