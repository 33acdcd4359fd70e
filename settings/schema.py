"""The configuration as frozen types, units resolved: seconds, bytes, fractions of one, basis points."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from domain.reference import Reference
from domain.routing import FULL_WEIGHT, Mode, Version
from domain.snapshot import ShadowLimits, UnitSource
from settings.access import AuthSettings
from settings.criteria import GateSettings
from settings.drills import DrillSettings
from settings.promotion import WEEK, ApprovalSettings, FollowSettings
from settings.receivers import Receiver, Retraining
from settings.registries import RegistrySettings
from settings.shared import Sharing
from settings.sinks import Sending


@dataclass(frozen=True, slots=True)
class Address:
    """A TCP address to listen on; `port` 0 lets the system choose."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """A unix socket to listen on, by its absolute path."""

    path: str

    def __str__(self) -> str:
        return f"unix:{self.path}"


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """Paths of PEM files, and the server names (SNI) they serve; without names, those of the certificate."""

    certificate: str
    key: str
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long a client is waited for, in seconds.

    Attributes:
        head: for a whole request head, from its first byte, however the bytes trickle in.
        body: for the next bytes of a request's body.
        idle: for the next request on a kept-alive connection.
    """

    head: float = 10.0
    body: float = 30.0
    idle: float = 75.0


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one worker; None: what its file descriptors allow for connections, else no bound.

    Attributes:
        connections: clients' connections at once.
        connections_per_client: of them, from one address.
        max_in_flight: requests being answered at once.
        memory: bytes of resident memory, towards which load is shed in stages.
    """

    connections: int | None = None
    connections_per_client: int | None = None
    max_in_flight: int | None = None
    memory: int | None = None


@dataclass(frozen=True, slots=True)
class AccessLogSettings:
    """`path` of a file or `stderr`; `sample`: share of the requests that are written, in basis points."""

    path: str = "stderr"
    sample: int = 100


@dataclass(frozen=True, slots=True)
class Downstream:
    """How clients reach a worker. It holds for a worker's whole life: a change replaces the workers.

    Attributes:
        tls: certificates; none: without TLS. The first one serves whoever asks for no name we have.
        proxied_by: networks whose connections begin with a PROXY protocol header; `unix` for unix sockets.
    """

    tls: tuple[CertificateFiles, ...] = ()
    proxied_by: tuple[str, ...] = ()
    timeouts: Timeouts = field(default_factory=Timeouts)
    limits: Limits = field(default_factory=Limits)
    access_log: AccessLogSettings | None = None


KINDS = ("regression", "classification", "ranking", "embedding", "text", "json", "boxes", "series")
"""What predictions can be compared as."""

BOX_FORMATS = ("xyxy", "xywh", "cxcywh")
"""What the four numbers of a box can be: two corners, corner and size, centre and size."""


@dataclass(frozen=True, slots=True)
class CompareSettings:
    """How two predictions are compared. What belongs to other kinds is ignored.

    Attributes:
        kind: regression, classification, ranking, embedding, text, json, boxes or series.
        output: the output's name, or in plain JSON its pointer; None takes the first, or everything.
        tolerance: the distance beyond which a prediction counts as flipped, in the kind's own unit; json:
            how far two numbers may be apart and still be equal. None is the kind's own default.
        scale: what differences are divided by, in the prediction's own unit; None is 1 for a regression, and
            the incumbent's own mean step for a series.
        labels: classification: class names by index, for people.
        threshold: classification: the probability from which on a class holds, where it is one number; boxes:
            the confidence that a box needs to count.
        multi_label: classification: several classes may hold at once.
        p: ranking: how likely a reader of the list goes on to the next item.
        top: ranking: how many of the first items are held against each other as a set.
        item: ranking: the key that identifies an item where items are objects.
        short: text: characters up to which two texts are compared letter by letter, not word by word.
        ignore: json: patterns of paths that are not compared.
        tolerances: json: tolerances of the numbers at some paths, (pattern, tolerance).
        iou: boxes: intersection over union from which on two boxes may be the same object.
        format: boxes: what the four numbers are: xyxy, xywh or cxcywh.
    """

    kind: str
    output: str | None = None
    tolerance: float | None = None
    scale: float | None = None
    labels: tuple[str, ...] = ()
    threshold: float = 0.5
    multi_label: bool = False
    p: float = 0.9
    top: int = 10
    item: str | None = None
    short: int = 200
    ignore: tuple[str, ...] = ()
    tolerances: tuple[tuple[str, float], ...] = ()
    iou: float = 0.5
    format: str = "xyxy"


@dataclass(frozen=True, slots=True)
class DivergenceGuard:
    mean: float


@dataclass(frozen=True, slots=True)
class FlipsGuard:
    rate: float


@dataclass(frozen=True, slots=True)
class ErrorsGuard:
    excess: float


@dataclass(frozen=True, slots=True)
class LatencyGuard:
    """`slo` in seconds; any part may be absent."""

    p95_ratio: float | None = None
    p99_ratio: float | None = None
    slo: float | None = None
    slo_rate: float = 0.01


@dataclass(frozen=True, slots=True)
class ConfidenceGuard:
    shift: float


@dataclass(frozen=True, slots=True)
class ClassesGuard:
    shift: float


@dataclass(frozen=True, slots=True)
class DriftGuard:
    """`reference`: path of the CSV or Parquet file that requests are compared with; None: they are compared
    with the first `learn` requests of the release.
    """

    shift: float
    reference: str | None = None
    learn: int = 1000


@dataclass(frozen=True, slots=True)
class DriftSettings:
    """What requests and predictions are compared with, as the prediction log has them.

    Attributes:
        reference: `learned`: from live traffic; `lineage`: from the data that the incumbent was trained on,
            as its lineage has it; or the path of a CSV or Parquet file.
        learn, over: a profile is learned from so many requests at least, of so many seconds at least.
        categories: texts of a column that are told apart.
        ranges: what numbers of a feature may be, lowest and highest, where the reference has something else.
    """

    reference: str = "learned"
    learn: int = 1000
    over: float = 3600.0
    categories: int = 20
    ranges: tuple[tuple[str, tuple[float, float]], ...] = ()


@dataclass(frozen=True, slots=True)
class AccuracyGuard:
    drop: float


@dataclass(frozen=True, slots=True)
class GuardSettings:
    """The guards of one endpoint. A guard that is None is not watched.

    Attributes:
        false_alarm: α, shared by all guards of the endpoint, for ever.
        certify: ε, the chance at most that a guard passes a candidate that is not below its limit; None: a
            guard passes with enough votes and an estimate within the limit, and nothing is certified.
        vote_window: seconds in which one unit has one vote per guard; 0 lets every pair vote.
        vote_per: `unit` and `pair`: a batch votes with the mean of its rows; `row`: every row votes.
        vote_block: so many votes in a row count as one, their mean.
        noisy: the incumbent is asked twice for some requests, so predictions are judged by what differs
            beyond its own noise.
        mirrored: requests reach both arms; without, errors are judged by the counts of each arm.
        breaker: consecutive hard failures that open a worker's local breaker; 0 is off.
    """

    false_alarm: float = 0.001
    certify: float | None = 0.05
    vote_window: float = 600.0
    vote_per: str = "unit"
    vote_block: int = 1
    noisy: bool = False
    mirrored: bool = True
    divergence: DivergenceGuard | None = None
    flips: FlipsGuard | None = None
    errors: ErrorsGuard | None = None
    latency: LatencyGuard | None = None
    confidence: ConfidenceGuard | None = None
    classes: ClassesGuard | None = None
    drift: DriftGuard | None = None
    accuracy: AccuracyGuard | None = None
    breaker: int = 5

    @property
    def watched(self) -> bool:
        """Whether there is any guard that could say PASS."""
        of_pairs = (self.divergence, self.flips, self.errors, self.latency, self.confidence, self.classes,
                    self.drift, self.accuracy)  # fmt: skip
        return any(one is not None for one in of_pairs)


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of the release plan: `weight` in basis points, `at_least` in seconds."""

    mode: Mode
    weight: int = 0
    pairs: int = 0
    at_least: float = 0.0


class CohortKind(enum.StrEnum):
    """Where the value that puts a request into a cohort is read from."""

    HEADER = "header"
    FEATURE = "feature"


@dataclass(frozen=True, slots=True)
class CohortSource:
    """`header:NAME` (lower case), or `feature:NAME`: a feature by its name or its index."""

    kind: CohortKind
    name: str

    def __str__(self) -> str:
        return f"{self.kind.value}:{self.name}"


@dataclass(frozen=True, slots=True)
class EndpointLog:
    """What the prediction log has of one endpoint.

    Attributes:
        share: of the requests that are recorded, in basis points; 0: none.
        required: whether a request is refused (503) whose record could not be kept.
        features: the names of those that are kept; None: all there are; empty: none.
        redact: JSON pointers to what is nulled before anything is read or kept; `*` is every member.
        input: whether the request's body is kept.
        traced: whether the request's trace context is handed over with it, for spans.
    """

    share: int = FULL_WEIGHT
    required: bool = False
    features: tuple[str, ...] | None = None
    redact: tuple[str, ...] = ()
    input: bool = False
    traced: bool = False


DRIVEN_BY_PLAN, DRIVEN_BY_UNLEASH = "plan", "unleash"


@dataclass(frozen=True, slots=True)
class EndpointSettings:
    """One endpoint as configured.

    `protocol` is the payload protocol, such as v2 or json; `cohorts` say what divergence and accuracy are
    broken down by. `watch`: seconds that the guards stay on after a promotion; `patience`: seconds that a
    stage of a release may wait for evidence; `incumbent_lineage`, `candidate_lineage`: where it is written
    what each version was made of; `incumbent_metrics`, `candidate_metrics`: where their servers' own metrics
    are, a path on each or a URL; `drive`: whether the plan's weight is our own, or written to the flag's
    rollout in Unleash. `approvals`: who has to agree to a release; `tier`: the risk tier that gave the plan
    where the endpoint has none of its own; `follow`: the registry that names candidate and incumbent;
    `drills`: how its rollback is rehearsed; `drift`: what its requests and predictions are compared with.
    """

    name: str
    path: str
    protocol: str
    unit: UnitSource
    incumbent: Version
    compare: CompareSettings
    candidate: Version | None = None
    context: tuple[tuple[str, str], ...] = ()
    timeout: float = 2.0
    max_body: int = 8 * 1024 * 1024
    idempotent: bool = False
    flag: str | None = None
    max_in_flight: int | None = None
    adaptive: bool = False
    shadow: ShadowLimits = field(default_factory=ShadowLimits)
    guards: GuardSettings = field(default_factory=GuardSettings)
    plan: tuple[Stage, ...] = (Stage(Mode.SHADOW),)
    cohorts: tuple[CohortSource, ...] = ()
    gates: GateSettings = field(default_factory=GateSettings)
    watch: float = 0.0
    patience: float = WEEK
    incumbent_lineage: tuple[Reference, ...] = ()
    candidate_lineage: tuple[Reference, ...] = ()
    drive: str = DRIVEN_BY_PLAN
    log: EndpointLog = field(default_factory=EndpointLog)
    incumbent_metrics: str | None = None
    candidate_metrics: str | None = None
    approvals: ApprovalSettings = field(default_factory=ApprovalSettings)
    tier: str | None = None
    follow: FollowSettings | None = None
    drills: DrillSettings = field(default_factory=DrillSettings)
    retrain: Retraining | None = None
    drift: DriftSettings = field(default_factory=DriftSettings)

    @property
    def released(self) -> bool:
        """Whether a candidate of this endpoint is only ever served by a release."""
        return self.gates.configured or self.watch > 0 or self.approvals.people > 0


@dataclass(frozen=True, slots=True)
class UnleashSettings:
    """An Unleash server that flags come from. Secrets stand in the environment, never here.

    Attributes:
        url: its API, without a slash at the end, such as https://unleash.example/api.
        token_env: the environment variable that holds the backend token.
        environment: the token's environment; a trip switches the flag off there.
        app_name: what Unleash calls us.
        poll: seconds between two fetches.
        admin_token_env: the environment variable that holds the token that may switch flags off; None: a
            trip leaves Unleash as it is.
    """

    url: str
    token_env: str
    environment: str
    app_name: str = "pointsman"
    project: str = "default"
    poll: float = 1.0
    admin_token_env: str | None = None


@dataclass(frozen=True, slots=True)
class OpenFeatureSettings:
    """A flag platform that is asked unit by unit. Secrets stand in the environment, never here.

    Attributes:
        provider: ofrep, flagd, launchdarkly, growthbook, or `module:function` that gives a provider.
        url: the platform's API, without a slash at the end.
        path: the flag file, for flagd.
        token_env: the environment variable that holds the platform's key.
        variant: the variant, or the text, that exposes; None: the flag is a boolean.
        age: seconds that an answer may decide.
        units: answers that a worker holds, and the control process.
        timeout: seconds that a server has for one answer.
    """

    provider: str
    url: str | None = None
    path: str | None = None
    token_env: str | None = None
    variant: str | None = None
    age: float = 60.0
    units: int = 100_000
    timeout: float = 2.0


@dataclass(frozen=True, slots=True)
class AuditSettings:
    """How the audit chain is signed.

    Attributes:
        key: the file with the Ed25519 key, made when it is not there.
        heads: the file that signed heads are appended to.
        every: seconds between two heads; one is taken after 1000 records, too.
        keep_access: seconds after which records of who came and went lose their content.
    """

    key: str
    heads: str
    every: float = 60.0
    keep_access: float = 34_560_000.0


@dataclass(frozen=True, slots=True)
class LogSettings:
    """Where the prediction log is, and in what bounds.

    Attributes:
        path: its folder.
        keep: seconds that records are kept.
        most: bytes of all of it.
        roll: seconds after which what was written becomes a Parquet file.
        sending: where its records, and spans made of them, are sent on to.
    """

    path: str = "var/predictions"
    keep: float = 30 * 86_400.0
    most: int = 20 * 2**30
    roll: float = 3600.0
    sending: Sending = field(default_factory=Sending)


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole configuration.

    Attributes:
        database: URL of the durable database: `sqlite:///path` (absolute, or relative to the working
            directory) or `postgresql://user@host/name`.
        sharing: what is shared with other gateways, and this one's name among them.
        flags_path: the flag file in Unleash's format; None when flags come from elsewhere, or from nowhere.
        unleash: the Unleash server that flags come from; None when they do not.
        openfeature: the platform that is asked for flags, unit by unit; None when there is none.
        environment, app_name: what flags' constraints on them see; None: a field that is missing.
        stands_in: the environment that this gateway is in, such as staging; drills ask for it.
        registry: where the lineage of versions is read from.
        log: the prediction log.
        notifications: who is told what happens.
        digest: SHA-256 (hex) of the canonical configuration.
        inert: keys that are valid and accepted but that this version does not act upon yet.
        auth: who may use the admin API.
        document: the effective configuration as given, for `GET /api/v1/config`.
    """

    listen: Address | UnixAddress
    admin: Address
    workers: int
    database: str
    flags_path: str | None
    endpoints: tuple[EndpointSettings, ...]
    digest: str
    inert: tuple[str, ...] = ()
    document: dict[str, object] = field(default_factory=dict)
    drain: float = 30.0
    downstream: Downstream = field(default_factory=Downstream)
    unleash: UnleashSettings | None = None
    audit: AuditSettings = field(
        default_factory=lambda: AuditSettings("var/pointsman-audit.key", "var/pointsman-audit-heads.jsonl")
    )
    openfeature: OpenFeatureSettings | None = None
    environment: str | None = None
    app_name: str | None = None
    registry: RegistrySettings = field(default_factory=RegistrySettings)
    stands_in: str = "production"
    notifications: tuple[Receiver, ...] = ()
    sharing: Sharing = field(default_factory=Sharing)
    log: LogSettings = field(default_factory=LogSettings)
    auth: AuthSettings = field(default_factory=AuthSettings)

    def endpoint(self, name: str) -> EndpointSettings:
        """The endpoint called `name`; KeyError when there is none."""
        for endpoint in self.endpoints:
            if endpoint.name == name:
                return endpoint
        raise KeyError(name)
