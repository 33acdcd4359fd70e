"""Following a registry: which of its versions an endpoint takes, decided from what its aliases name.

An alias is somebody's wish, and moves at once. What clients are served by does not:

* The candidate is whatever version the candidate's alias names; its release decides the rest. An alias
  that names the incumbent, a version that was the incumbent before, or nothing, leaves no candidate.
* A version whose release is done stays the candidate until it is the incumbent, whatever the alias says:
  to try the next one beside an incumbent that hardly serves any more would send everybody back to it.
* The incumbent is what its alias names only if that version has been trusted here before: by a release that
  is done, as an earlier incumbent, or because the configuration names it. No alias leads around the gates.

All of that is one function of what is followed, what the aliases name, and what has been released.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

from gates.result import version_digest
from settings import follow
from settings.follow import Standing
from settings.schema import EndpointSettings, Settings

MOST_FORMER = 10
"""Earlier incumbents that an alias may go back to."""


@dataclass(frozen=True, slots=True)
class Followed:
    """What an endpoint has taken from its registry, as kept; versions are the registry's numbers.

    Attributes:
        standing: which versions, of which model, beside which configured incumbent.
        former: earlier incumbents, the last one last.
        promoted: the id of the last release for which the incumbent's alias was moved.
        steps: how often this was changed; since, reason: when and why last.
    """

    endpoint: str
    standing: Standing
    former: tuple[str, ...] = ()
    promoted: str = ""
    steps: int = 0
    since: float = 0.0
    reason: str = ""


class Heard(NamedTuple):
    """What the aliases name: a version, "" for nothing; `incumbent` is None where it is not followed."""

    candidate: str
    incumbent: str | None


class Decision(NamedTuple):
    """`followed` differs from what was when something changes; `problem`: what is not followed, and why."""

    followed: Followed
    problem: str = ""


Same = Callable[[str, str], bool]
"""Whether the version of the first number is the incumbent, when the second one is followed ("": as
configured)."""


def fresh(endpoint: EndpointSettings, at: Followed | None) -> Followed:
    """`at`, as far as it is good for what `endpoint` follows now; nothing is followed where it is not."""
    model = "" if endpoint.follow is None else endpoint.follow.model
    base = version_digest(endpoint.incumbent, endpoint.path)
    if at is not None and (at.standing.model, at.standing.base) == (model, base):
        return at
    nothing = Followed(endpoint.name, Standing(model, base))
    return nothing if at is None else replace(nothing, steps=at.steps)


def decide(at: Followed, heard: Heard, same: Same, released: str) -> Decision:
    """What to follow after `at`; `released` is the candidate if its release is done, "" otherwise."""
    moved, problem = _incumbent(at, heard.incumbent, same, released)
    candidate, why = _candidate(moved, heard.candidate, same)
    stays = (
        released
        and released == at.standing.candidate
        and moved.standing.incumbent == at.standing.incumbent
        and candidate != released
    )
    if stays:
        left = f"version {released} is released: it stays the candidate until it is the incumbent"
        return Decision(moved, problem or left)
    if candidate != moved.standing.candidate:
        reason = f"{moved.reason}; {why}" if moved.standing != at.standing else why
        moved = replace(moved, standing=moved.standing._replace(candidate=candidate), reason=reason)
    return Decision(moved, problem)


def demanded(endpoint: EndpointSettings) -> Same:
    """The `Same` of `endpoint`, as it is configured."""

    def same(number: str, incumbent: str) -> bool:
        return number == incumbent if incumbent else follow.is_incumbent(endpoint, number)

    return same


def placed(settings: Settings, known: dict[str, Followed]) -> Settings:
    """`settings`, as configured, with the versions that are followed in their places."""
    bases = {one.name: version_digest(one.incumbent, one.path) for one in settings.endpoints if one.follow}
    return follow.effective(settings, {name: one.standing for name, one in known.items()}, bases)


def _incumbent(at: Followed, named: str | None, same: Same, released: str) -> tuple[Followed, str]:
    standing = at.standing
    if not named or same(named, standing.incumbent):
        return at, ""
    if same(named, ""):
        number, why = "", f"the alias names version {named}, which the configuration names"
    elif named == released:
        number, why = named, f"the alias names version {named}, whose release is done"
    elif named in at.former:
        number, why = named, f"the alias names version {named}, which was the incumbent before"
    else:
        return at, (
            f"version {named} is not taken as the incumbent: no release here has brought it there; let the "
            "candidate's alias name it, or configure it as the incumbent"
        )
    left = () if not standing.incumbent else (standing.incumbent,)
    former = (*(one for one in at.former if one != number), *left)[-MOST_FORMER:]
    return replace(at, standing=standing._replace(incumbent=number), former=former, reason=why), ""


def _candidate(at: Followed, named: str, same: Same) -> tuple[str, str]:
    if not named:
        return "", "no version has the candidate's alias"
    if same(named, at.standing.incumbent):
        return "", f"the candidate's alias names version {named}, which is the incumbent"
    if named in at.former:
        return "", f"the candidate's alias names version {named}, which was the incumbent before"
    return named, f"the candidate's alias names version {named}"
