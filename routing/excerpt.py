"""The part of a flag document that matters here: the flags that endpoints name, their parents and segments.

An Unleash project holds the flags of a whole company. A flag of somebody else that is malformed must not keep
ours from being switched off, a change of it is no news, and every worker is sent the document.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import msgspec

from routing.document import parse


@dataclass(frozen=True, slots=True)
class Excerpt:
    """`document` in client-features format, and the wanted flags that it does not have."""

    document: bytes
    missing: frozenset[str]


def excerpt(document: bytes, names: Collection[str]) -> Excerpt:
    """The flags `names` of `document`; equal content gives equal bytes, whatever order it came in.

    Raises:
        ConfigError: the document, or one of these flags, is malformed.
    """
    parsed = parse(document, names)
    features = [parsed.flags[name].source for name in sorted(parsed.flags)]
    used = {number for feature in features for number in _segments(feature)}
    segments = [parsed.segments[number] for number in sorted(used & parsed.segments.keys())]
    # A flag without a live strategy is off: `source` has lost the disabled ones, which said so.
    shown = [{**one, "enabled": parsed.flags[str(one["name"])].enabled} for one in features]
    content = {"version": 2, "features": shown, "segments": segments}
    return Excerpt(
        msgspec.json.encode(content, order="deterministic"), frozenset(names) - parsed.flags.keys()
    )


def _segments(feature: Mapping[str, object]) -> set[int]:
    strategies = feature["strategies"]
    listed = [one.get("segments") or [] for one in strategies] if isinstance(strategies, list) else []
    return {number for numbers in listed for number in numbers}
