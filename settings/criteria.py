"""The promotion gates as frozen types, units resolved: what has to hold before a release takes a step."""

from __future__ import annotations

from dataclasses import dataclass

PRIOR_WEEK = "prior-week"
"""A drift gate that holds the newest seven days of a file against the seven before, in the same hours."""

LINEAGE_FIELDS = ("dataset_digest", "commit", "schema", "hyperparameters")
"""What must be known of how a version was made, unless other fields of a lineage record are named."""

_DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class EvaluationGate:
    """The candidate against held-out data, beside the incumbent.

    Attributes:
        data: path of a CSV or Parquet file.
        label: its column with the truth.
        metric: a scorer of scikit-learn, by name; greater is better.
        tolerance: how much lower than the incumbent's the candidate's score may be, in the metric's unit.
        confidence: of the bound that has to lie within the tolerance, a fraction of one.
        features: the columns that are sent, in this order; empty: all but the label, as they stand.
        request: the column that holds the whole body of each request (JSON), in place of features.
        batch: rows in one request.
    """

    data: str
    label: str
    metric: str
    tolerance: float
    confidence: float = 0.95
    features: tuple[str, ...] = ()
    request: str | None = None
    batch: int = 32


@dataclass(frozen=True, slots=True)
class LatencyGate:
    """The candidate under a load that keeps its timetable.

    Attributes:
        rps: requests a second, to each version.
        lasts: seconds.
        limits: (quantile, seconds) that the candidate's latency must keep.
        ratios: (quantile, factor): the most that it may be in times of the incumbent's.
        errors: the share of requests that may fail.
    """

    rps: float
    lasts: float = 30.0
    limits: tuple[tuple[float, float], ...] = ()
    ratios: tuple[tuple[float, float], ...] = ()
    errors: float = 0.001


@dataclass(frozen=True, slots=True)
class MemoryGate:
    """The candidate's peak of resident memory while it answers requests.

    Attributes:
        most: bytes.
        lasts: seconds of requests.
        metrics: URL, or path on the candidate's server, of its Prometheus metrics.
        pid: the server's process, where it runs on this machine; before `metrics`.
        cgroup: path of the server's control group; before both.
    """

    most: int
    lasts: float = 10.0
    metrics: str = "/metrics"
    pid: int | None = None
    cgroup: str | None = None


@dataclass(frozen=True, slots=True)
class DriftGate:
    """Whether inputs still look as they did.

    Attributes:
        shift: the total variation that each feature may have moved by.
        data: path of a CSV or Parquet file with recent inputs; None: nothing is recorded.
        against: `prior-week`, or the path of a file with reference inputs.
        time: the column with the time of each row, for `prior-week`.
        features: the columns that are held against each other; empty: all numeric ones of the reference.
    """

    shift: float
    data: str | None = None
    against: str = PRIOR_WEEK
    time: str = "time"
    features: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LineageGate:
    """Which fields of the candidate's lineage must be known."""

    require: tuple[str, ...] = LINEAGE_FIELDS


@dataclass(frozen=True, slots=True)
class SchemaGate:
    """Whether the candidate accepts what the incumbent accepts; so many requests are sent to both."""

    requests: int = 20


@dataclass(frozen=True, slots=True)
class CustomGate:
    """A criterion of the operator's own: a command, or a URL, that answers with a verdict.

    `timeout` in seconds; one of `command` (a program and its arguments, no shell) and `url` is given.
    """

    name: str
    command: tuple[str, ...] = ()
    url: str | None = None
    timeout: float = 60.0


@dataclass(frozen=True, slots=True)
class GateSettings:
    """The promotion gates of one endpoint. A gate that is None is not executed.

    Attributes:
        valid_for: seconds after which a result is void.
        requests: path of a file with recorded or example requests, a JSON body a line.
    """

    evaluation: EvaluationGate | None = None
    latency: LatencyGate | None = None
    memory: MemoryGate | None = None
    drift: DriftGate | None = None
    lineage: LineageGate | None = None
    schema: SchemaGate | None = None
    custom: tuple[CustomGate, ...] = ()
    valid_for: float = _DAY
    requests: str | None = None

    @property
    def configured(self) -> bool:
        """Whether there is any gate."""
        single = (self.evaluation, self.latency, self.memory, self.drift, self.lineage, self.schema)
        return bool(self.custom) or any(one is not None for one in single)
