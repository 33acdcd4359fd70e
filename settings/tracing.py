"""Reading where spans are sent, and which requests have some. A token stands in the environment only."""

from __future__ import annotations

from settings import units, values
from settings.notifications import web_url
from settings.reader import Section
from settings.sinks import TracingSettings

SERVICE = "pointsman"


def tracing(root: Section) -> TracingSettings | None:
    """What stands under `tracing`; None: no spans are made."""
    section = root.optional("tracing")
    if section is None:
        return None
    url = section.need("url", collector, "the collector that spans are sent to, by OTLP over HTTP")
    share = section.take("share", units.basis_points, 0)
    service = section.take("service", values.text(200), SERVICE)
    variable = section.take("token_env", values.environment_variable, None)
    return None if url is None else TracingSettings(url, share, service, variable)


def collector(value: object) -> str:
    """The URL of a collector, without `/v1/traces` and without a slash at its end. Raises ValueError."""
    url = web_url(value)
    return url.rstrip("/").removesuffix("/v1/traces")
