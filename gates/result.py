"""What a gate found, and what that holds for.

A result is worth something only for what was measured. It is bound to the endpoint, to both versions (name,
URLs, path), to the bytes of every file that was read, and to the configuration; and it expires. `void` says
whether it still holds. There is no other way past a gate: nothing here, no flag, no route and no role turns a
verdict into another one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

from domain.routing import Version
from domain.verdict import Verdict
from settings.criteria import GateSettings
from settings.promotion import ApprovalSettings


@dataclass(frozen=True, slots=True)
class Judgement:
    """A gate's verdict with the sentence that explains it to an operator, and the numbers behind it."""

    verdict: Verdict
    sentence: str
    numbers: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Binding:
    """What a result is about. Any difference makes the result void.

    Attributes:
        incumbent: digest of the version that was held against, by `version_digest`.
        candidate: digest of the version on trial.
        configuration: the configuration digest.
        data: (path, SHA-256) of every file that was read, sorted.
    """

    endpoint: str
    incumbent: str
    candidate: str
    configuration: str
    data: tuple[tuple[str, str], ...] = ()

    @property
    def data_digest(self) -> str:
        """SHA-256 (hex) of all the data, "" without any."""
        return _digest([list(one) for one in self.data]) if self.data else ""


@dataclass(frozen=True, slots=True)
class GateResult:
    """One execution of one gate; times are wall clock, seconds since the epoch."""

    gate: str
    verdict: Verdict
    sentence: str
    numbers: Mapping[str, float]
    binding: Binding
    started: float
    ended: float

    def document(self) -> dict[str, object]:
        """As JSON-able values; `restored` reads them back."""
        bound = self.binding
        return {
            "gate": self.gate,
            "verdict": self.verdict.value,
            "sentence": self.sentence,
            "numbers": dict(self.numbers),
            "endpoint": bound.endpoint,
            "incumbent_digest": bound.incumbent,
            "candidate_digest": bound.candidate,
            "configuration_digest": bound.configuration,
            "data_digest": bound.data_digest,
            "data": [{"path": path, "digest": digest} for path, digest in bound.data],
            "started": self.started,
            "ended": self.ended,
        }


def restored(document: Mapping[str, object]) -> GateResult:
    """The result that `document()` wrote. Raises ValueError when it is none."""
    try:
        data = document["data"]
        numbers = document["numbers"]
        if not isinstance(data, list) or not isinstance(numbers, dict):
            raise ValueError("data is a list and numbers an object")
        binding = Binding(
            str(document["endpoint"]),
            str(document["incumbent_digest"]),
            str(document["candidate_digest"]),
            str(document["configuration_digest"]),
            tuple((str(one["path"]), str(one["digest"])) for one in data),
        )
        return GateResult(
            str(document["gate"]),
            Verdict(str(document["verdict"])),
            str(document["sentence"]),
            {str(name): float(value) for name, value in numbers.items()},
            binding,
            float(str(document["started"])),
            float(str(document["ended"])),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"this is no gate's result: {error!r}") from error


def void(result: GateResult, now: Binding, at: float, valid_for: float) -> str | None:
    """Why `result` does not hold for `now`, what stands there at the time `at`; None when it holds."""
    was = result.binding
    if was.endpoint != now.endpoint:
        return f"it is of endpoint {was.endpoint}"
    if was.candidate != now.candidate:
        return "it is of another candidate"
    if was.incumbent != now.incumbent:
        return "it is held against another incumbent"
    if was.configuration != now.configuration:
        return "the configuration is another one now"
    if was.data != now.data:
        return "the data are others now"
    if not 0.0 <= at - result.ended <= valid_for:
        return "it has expired" if at > result.ended else "it is from the future"
    return None


CODES = {Verdict.PASS: 0, Verdict.FAIL: 1, Verdict.INCONCLUSIVE: 2, Verdict.ERROR: 3}
"""The exit code of whoever executes gates."""


def worst(results: Iterable[GateResult]) -> Verdict:
    """The worst verdict; INCONCLUSIVE without results: no data is not a pass."""
    return Verdict.worst(result.verdict for result in results)


def report(endpoint: str, results: Sequence[GateResult]) -> dict[str, object]:
    """All results of one execution as JSON-able values, with the worst verdict."""
    return {
        "endpoint": endpoint,
        "verdict": worst(results).value,
        "results": [result.document() for result in results],
    }


def version_digest(version: Version, path: str) -> str:
    """SHA-256 (hex) of a version as it is reached: name, URLs, and the path its server is asked at."""
    urls = [str(one) for one in version.upstreams]
    return _digest([version.name, urls, version.path or path])


def gates_digest(settings: GateSettings) -> str:
    """SHA-256 (hex) of the gates as they are configured, "" where there are none."""
    return _digest(asdict(settings)) if settings.configured else ""


def demands_digest(gates: GateSettings, approvals: ApprovalSettings) -> str:
    """SHA-256 (hex) of all that a release has to pass before its first stage, "" where there is nothing."""
    if not approvals.people:
        return gates_digest(gates)
    return _digest([gates_digest(gates), asdict(approvals)])


def _digest(value: object) -> str:
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
