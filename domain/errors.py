"""The error tree. Everything this project raises on purpose is a `PointsmanError`."""

from __future__ import annotations

from domain.routing import Arm


class PointsmanError(Exception):
    """Root of the tree."""


class ConfigError(PointsmanError):
    """A configuration value is wrong.

    `path` names the key (`endpoints.rain.timeout`), `value` what stood there, `allowed` the way out.
    """

    def __init__(self, path: str, value: object, allowed: str) -> None:
        super().__init__(f"{path}: {value!r} is not allowed; {allowed}")
        self.path = path
        self.value = value
        self.allowed = allowed


class ClientProtocolError(PointsmanError):
    """The client's bytes break HTTP. `status_hint` is the status that the gateway should answer."""

    def __init__(self, reason: str, status_hint: int = 400) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status_hint = status_hint


class UpstreamError(PointsmanError):
    """A model server did not give a whole, valid answer."""

    status_hint = 502

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class UpstreamConnectError(UpstreamError):
    """No connection could be made; no byte of the request was sent."""


class UpstreamTimeoutError(UpstreamError):
    """The answer was not whole when the endpoint's timeout ran out."""

    status_hint = 504


class UpstreamProtocolError(UpstreamError):
    """The model server's bytes break HTTP, or it closed before its answer was whole."""


class StateUnavailable(PointsmanError):  # noqa: N818 - the design's name; it is a state, not a mistake
    """Durable or shared state can be neither read nor written now."""


class LineageUnknown(PointsmanError):  # noqa: N818 - an answer, not a mistake
    """The registry was asked and has no such record: no such version, or an alias that points nowhere."""


class StaleRearm(PointsmanError):  # noqa: N818 - named after what was refused
    """A re-arm named other kills than those in force: somebody killed again in between."""


class ComparatorFault(PointsmanError):  # noqa: N818 - the design's name
    """A payload could not be read or compared. `arm` says whose answer it was."""

    def __init__(self, reason: str, arm: Arm) -> None:
        super().__init__(f"{arm}: {reason}")
        self.reason = reason
        self.arm = arm


class GateError(PointsmanError):
    """A promotion gate could not be executed."""
