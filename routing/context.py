"""What a flag may ask about a request beside its unit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

STANDARD_FIELDS = frozenset({"userId", "sessionId", "remoteAddress", "environment", "appName", "currentTime"})
"""The fields that Unleash keeps beside `properties`."""

_ATTRIBUTES = {
    "userId": "user_id",
    "sessionId": "session_id",
    "remoteAddress": "remote_address",
    "environment": "environment",
    "appName": "app_name",
}
_NO_PROPERTIES: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class FlagContext:
    """An Unleash context. A field that the request does not carry is None, or missing from `properties`.

    Attributes:
        user_id: for callers that hold a whole context. An exposure takes its userId from the unit, which is
            known before any context is built.
        current_time: an aware datetime. Exposures know no clock: None is a time that is not known.
    """

    user_id: str | None = None
    session_id: str | None = None
    remote_address: str | None = None
    environment: str | None = None
    app_name: str | None = None
    current_time: datetime | None = None
    properties: Mapping[str, str] = field(default_factory=lambda: _NO_PROPERTIES)

    @classmethod
    def of(
        cls,
        fields: Iterable[tuple[str, str]],
        remote_address: str | None = None,
        current_time: datetime | None = None,
    ) -> FlagContext:
        """A context from (Unleash field name, value) pairs; any other name is a property.

        `currentTime` cannot be given by a request: it is the gateway's clock.
        """
        standard: dict[str, str | None] = {"remote_address": remote_address}
        properties: dict[str, str] = {}
        for name, value in fields:
            attribute = _ATTRIBUTES.get(name)
            if attribute is not None:
                standard[attribute] = value
            elif name != "currentTime":
                properties[name] = value
        return cls(current_time=current_time, properties=properties, **standard)


NOTHING_KNOWN = FlagContext()
"""The context of a request that carries nothing."""
