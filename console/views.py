"""The admin API's answers as the command line reads them. Fields that a newer gateway adds are ignored."""

from __future__ import annotations

import msgspec


class DatasetView(msgspec.Struct, frozen=True):
    name: str
    version: str | None = None
    digest: str | None = None
    location: str | None = None
    role: str = ""


class RecordView(msgspec.Struct, frozen=True):
    """What a version was made of, as far as it is known."""

    source: str
    version: str | None = None
    datasets: tuple[DatasetView, ...] = ()
    commit: str | None = None
    repository: str | None = None
    schema: str | None = None
    transformation: str | None = None
    hyperparameters: dict[str, str] = {}
    metrics: dict[str, float] = {}
    created: str | None = None
    registered: str | None = None
    deployed: str | None = None
    runs: tuple[str, ...] = ()
    artifact_digest: str | None = None
    author: str | None = None


class LineageView(msgspec.Struct, frozen=True):
    """`condition`: known, stale, waiting or none; `reason` says why it is not known."""

    condition: str = "none"
    reason: str | None = None
    references: tuple[str, ...] = ()
    stale_since: str | None = None
    gaps: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    record: RecordView | None = None


class VersionView(msgspec.Struct, frozen=True):
    """`lineage` is None where the gateway is too old to tell."""

    version: str
    urls: tuple[str, ...] = ()
    lineage: LineageView | None = None


class KillView(msgspec.Struct, frozen=True):
    id: str
    actor: str
    reason: str
    at: str
    version: str = ""


class BreakerView(msgspec.Struct, frozen=True):
    worker: int
    reason: str | None = None


class SwitchView(msgspec.Struct, frozen=True):
    """`unreadable` says why the kept kills are unknown; every candidate is out until they are known."""

    tripped: bool
    kills: tuple[KillView, ...] = ()
    breakers: tuple[BreakerView, ...] = ()
    unreadable: str | None = None


class ReleaseView(msgspec.Struct, frozen=True):
    """`weight` is a fraction of one; `stage` counts from 0; -1 is the shadow stage after a re-arm."""

    stage: int
    stages: int
    mode: str
    weight: float
    pairs: int = 0
    pairs_needed: int = 0
    since: str | None = None


class GuardView(msgspec.Struct, frozen=True):
    guard: str
    verdict: str
    estimate: float | None = None
    limit: float | None = None
    evidence: float | None = None
    threshold: float | None = None
    count: int = 0
    sentence: str | None = None
    bound_low: float | None = None
    bound_high: float | None = None
    pairs_needed: int | None = 0
    certified: bool = False
    soft: bool = False
    cohort: str = ""
    worst: tuple[str, ...] = ()


class CohortView(msgspec.Struct, frozen=True):
    """One cohort against everybody else; `excess` above 0 is certain."""

    cohort: str
    votes: int = 0
    mean: float = 0.0
    rest: float = 0.0
    low: float = 0.0
    rest_high: float = 0.0
    excess: float = 0.0
    certain: bool = False


class RateView(msgspec.Struct, frozen=True):
    differing: int = 0
    comparisons: int = 0
    low: float = 0.0
    high: float = 1.0


class PathView(msgspec.Struct, frozen=True):
    """How often one path differs between the arms, and between the incumbent's own two answers."""

    path: str
    arms: RateView = RateView()
    noise: RateView = RateView()
    exceeds: bool = False
    quiet: bool = False


class AccuracyView(msgspec.Struct, frozen=True):
    """Shares of right predictions; cohort "" is everybody."""

    cohort: str
    labels: int = 0
    incumbent: float = 0.0
    candidate: float = 0.0


class DriftView(msgspec.Struct, frozen=True):
    """How far one feature of the requests is from its reference, by total variation."""

    feature: str
    shift: float = 0.0


class PairCounts(msgspec.Struct, frozen=True):
    judged: int = 0
    flips: int = 0
    faults: int = 0
    stale: int = 0
    shed: int = 0


class TripView(msgspec.Struct, frozen=True):
    cause: str
    reason: str | None = None
    first_bad_at: str | None = None
    breach_at: str | None = None
    trip_at: str | None = None
    confirmed_at: str | None = None
    last_bad_served_at: str | None = None
    trip_ms: float | None = None
    sentence: str | None = None


class WorkerView(msgspec.Struct, frozen=True):
    worker: int
    generation: int
    pid: int | None = None


class EndpointView(msgspec.Struct, frozen=True):
    endpoint: str
    path: str
    incumbent: VersionView
    switch: SwitchView
    verdict: str
    candidate: VersionView | None = None
    protocol: str = ""
    flag: str | None = None
    release: ReleaseView | None = None
    guards: tuple[GuardView, ...] = ()
    warnings: tuple[str, ...] = ()
    cohorts: tuple[CohortView, ...] = ()
    paths: tuple[PathView, ...] = ()
    accuracy: tuple[AccuracyView, ...] = ()
    drift: tuple[DriftView, ...] = ()
    pairs: PairCounts = PairCounts()
    last_trip: TripView | None = None
    generation: int = 0
    workers: tuple[WorkerView, ...] = ()
    config_digest: str = ""


class SwitchOnly(msgspec.Struct, frozen=True):
    """What a re-arm needs of an endpoint: whatever else changes in an answer, this has to be readable."""

    switch: SwitchView


class EndpointsView(msgspec.Struct, frozen=True):
    endpoints: tuple[EndpointView, ...]


class KilledView(msgspec.Struct, frozen=True):
    kill: str
    generation: int = 0
    confirmed_ms: float | None = None
    workers: int = 0
    durable: bool = False


class RearmedView(msgspec.Struct, frozen=True):
    cleared: tuple[str, ...]
    generation: int = 0


class ArmView(msgspec.Struct, frozen=True):
    """One arm's part of a pair. `prediction` is any JSON value, or a text saying why there is none."""

    version: str
    outcome: str = ""
    status: int = 0
    latency_ms: float | None = None
    prediction: object = None


class DifferenceView(msgspec.Struct, frozen=True):
    """One value that differs; UNSET on the side that has none. `text` tells texts apart by words."""

    path: str
    incumbent: object = msgspec.UNSET
    candidate: object = msgspec.UNSET
    text: tuple[tuple[str, str], ...] = ()


class PairView(msgspec.Struct, frozen=True):
    request_id: str
    at: str
    served: str
    incumbent: ArmView
    candidate: ArmView
    score: float | None = None
    flip: bool | None = None
    reason: str | None = None
    diff: tuple[DifferenceView, ...] = ()


class PairsView(msgspec.Struct, frozen=True):
    pairs: tuple[PairView, ...]
