"""What to do next about an answer that was no. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping

UNKNOWN = 404
_MISSING = re.compile(r"no endpoint (?:is|was ever) called (['\"])(.*?)\1")


def next_step(problem: Mapping[str, object], token: bool) -> str:
    """The next step after the admin API answered `problem`; "" where its own words have to do.

    `token`: whether one was shown.
    """
    match problem.get("status"):
        case 401 if token:
            return (
                "the token in POINTSMAN_TOKEN is not taken: it may be expired, revoked or of another "
                "gateway. 'pointsman token list -c FILE' shows those that are in force"
            )
        case 401:
            return (
                "put a token into POINTSMAN_TOKEN; on the gateway's machine "
                "'pointsman token create NAME --role viewer -c FILE' makes one"
            )
        case 403:
            return (
                "an administrator gives it: 'pointsman token create NAME --role ROLE -c FILE', "
                "with viewer, operator, release or admin as the role"
            )
        case 429:
            return "wait as long as it says; a kill is always taken"
        case _:
            return ""


def missing_endpoint(problem: Mapping[str, object]) -> str | None:
    """The name of the endpoint that is not there; None when the answer says something else."""
    found = _MISSING.search(str(problem.get("detail", ""))) if problem.get("status") == UNKNOWN else None
    return None if found is None else found[2]


def nearest(name: str, known: Iterable[str]) -> str:
    """A sentence that names what was probably meant; "" when nothing is like `name`, or it is known."""
    names = list(known)
    if name in names:
        return ""
    found = difflib.get_close_matches(name, names, 1, 0.5)
    return f"did you mean {found[0]!r}?" if found else ""
