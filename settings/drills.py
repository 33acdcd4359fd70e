"""Reading how an endpoint's rollback is rehearsed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from cronsim import CronSim, CronSimError

from domain.routing import FULL_WEIGHT
from domain.snapshot import Fault
from settings import units, values
from settings.reader import Section

FAULTS = tuple(fault.value for fault in Fault)
_CRON_FIELDS = 5
_CRON = 'write minute, hour, day, month and weekday as cron does, such as "0 3 * * 1"'


@dataclass(frozen=True, slots=True)
class DrillSettings:
    """How the rollback of one endpoint is rehearsed.

    Attributes:
        every: the schedule as cron writes it, in UTC; None: on demand only.
        environment: where drills may run; None: wherever the gateway is.
        fault: what is done to the candidate's answers.
        share: to how many of them, in basis points.
        served: clients get spoilt answers; False: only mirrors, whose answers no client sees.
        weight: the candidate's weight while a drill that serves finds the release in shadow, basis points.
        lasts: seconds after which a fault that nobody noticed ends.
        within: seconds that the recovery may take.
        latency: seconds that the fault `latency` adds.
        noise: standard deviation of the fault `noise`, as a share of each number.
        requests: path of a file with one request body a line, which the drill itself sends; None: it runs on
            the traffic there is.
        rps: how many of them a second.
    """

    every: str | None = None
    environment: str | None = None
    fault: Fault = Fault.FLIP
    share: int = 2000
    served: bool = False
    weight: int = 5000
    lasts: float = 60.0
    within: float = 5.0
    latency: float = 0.5
    noise: float = 1.0
    requests: str | None = None
    rps: int = 200


_DEFAULT = DrillSettings()


def drills(endpoint: Section) -> DrillSettings:
    """What stands under `drills`; the defaults where nothing does."""
    section = endpoint.section("drills")
    return DrillSettings(
        every=section.take("every", cron, None),
        environment=section.take("environment", values.text(64), None),
        fault=Fault(section.take("fault", values.choice(*FAULTS), _DEFAULT.fault.value)),
        share=section.take("share", _share, _DEFAULT.share),
        served=section.take("served", values.boolean, _DEFAULT.served),
        weight=section.take("weight", _share, _DEFAULT.weight),
        lasts=section.take("lasts", values.duration("1s", "1h"), _DEFAULT.lasts),
        within=section.take("within", values.duration("1ms", "1h"), _DEFAULT.within),
        latency=section.take("latency", values.duration("1ms", "1m"), _DEFAULT.latency),
        noise=section.take("noise", values.number(0.001, 1000.0), _DEFAULT.noise),
        requests=section.take("requests", values.text(1000), None),
        rps=section.take("rps", values.whole(1, 10_000), _DEFAULT.rps),
    )


def cron(value: object) -> str:
    """Five fields that some day come true."""
    fields = value.split() if isinstance(value, str) else []
    if len(fields) != _CRON_FIELDS:
        raise ValueError(_CRON)
    expression = " ".join(fields)
    try:
        next(CronSim(expression, datetime(2026, 1, 1, tzinfo=UTC)))
    except CronSimError as error:
        raise ValueError(f"{_CRON} ({error})") from None
    except StopIteration:
        raise ValueError(f"{_CRON}; this one is never due") from None
    return expression


def _share(value: object) -> int:
    share = units.basis_points(value)
    if not 0 < share <= FULL_WEIGHT:
        raise ValueError("above 0%, up to 100%")
    return share
