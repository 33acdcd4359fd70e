"""An endpoint's comparison: which reader, which distance, whose fault.

Observations in, Divergences out. Equal bytes are the common case of a healthy candidate and are recognised
before anything of the second answer is decoded. The incumbent is read first: when its answer cannot be read
there is nothing to hold the candidate against, whatever the candidate said.

Pairs are compared in batches: what is read of them is compared together (`comparators.stacking`), and no
finding depends on what else is in the batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from comparators.kind import Finding, PredictionPair
from comparators.kinds import key, kind_of, reads_structures
from comparators.prediction import Prediction, Reader, Unreadable
from comparators.readers.features import Features, features
from comparators.readers.protocols import PROTOCOLS, reader
from comparators.text import TextScorer
from domain.errors import ComparatorFault, ConfigError
from domain.media import JSON, Media
from domain.observation import Divergence, Observation
from domain.routing import Arm
from settings.schema import CompareSettings

_AT_ONCE = 1024
"""Pairs whose predictions are held at the same time."""


class Comparison:
    """Compares answers of one endpoint. Holds no state: one object may serve all threads."""

    def __init__(
        self, protocol: str, settings: CompareSettings, path: str = "", scorer: TextScorer | None = None
    ) -> None:
        """`path` is where `settings` stand in the configuration (`endpoints.rain.compare`).

        `scorer` says how far apart two texts are in meaning. Raises ConfigError for a protocol, kind, output
        or any other setting that cannot be.
        """
        if protocol not in PROTOCOLS:
            parent = path.removesuffix("compare").rstrip(".")
            raise ConfigError(key(parent, "protocol"), protocol, f"one of {', '.join(PROTOCOLS)}")
        self._protocol = protocol
        self._kind = kind_of(settings, path, scorer)
        self._reader = _reader(protocol, settings, path)

    def compare(self, incumbent: Observation, candidate: Observation) -> Divergence:
        """How far apart two answers are. Raises ComparatorFault; its arm is whose answer cannot be read."""
        (found,) = self.compare_many([(incumbent, candidate)])
        if isinstance(found, ComparatorFault):
            raise found
        return found

    def compare_many(self, pairs: Sequence[tuple[Observation, Observation]]) -> list[Finding]:
        """What `compare` answers or raises for each pair, in order."""
        found: list[Finding] = []
        for start in range(0, len(pairs), _AT_ONCE):
            found += self._compare_some(pairs[start : start + _AT_ONCE])
        return found

    def describe(self, observation: Observation) -> object:
        """The prediction as a JSON-able value for people; a text saying why when there is none."""
        try:
            return self._kind.describe(self._reader.read(observation.body, _media(observation)))
        except (Unreadable, ComparatorFault) as error:
            return f"unreadable: {error.reason}"

    def features(self, request: bytes, media: str = "") -> Features:
        """The features in a request's body, as named columns. Never raises: see `Features.reason`."""
        return features(self._protocol, request, Media.of(media))

    def _compare_some(self, pairs: Iterable[tuple[Observation, Observation]]) -> list[Finding]:
        found: list[Finding | None] = []
        read: list[PredictionPair] = []
        for incumbent, candidate in pairs:
            try:
                trusted = self._read(incumbent, Arm.INCUMBENT)
                if incumbent.body == candidate.body and incumbent.media == candidate.media:
                    read.append((trusted, trusted))
                else:
                    read.append((trusted, self._read(candidate, Arm.CANDIDATE)))
            except ComparatorFault as fault:
                found.append(fault)
            else:
                found.append(None)
        compared = iter(self._kind.compare_many(read))
        return [next(compared) if finding is None else finding for finding in found]

    def _read(self, observation: Observation, arm: Arm) -> Prediction:
        try:
            return self._reader.read(observation.body, _media(observation))
        except Unreadable as error:
            raise ComparatorFault(error.reason, arm) from None


def _media(observation: Observation) -> Media:
    return Media.of(observation.media) if observation.media else JSON


def _reader(protocol: str, settings: CompareSettings, path: str) -> Reader:
    try:
        return reader(protocol, settings.output, reads_structures(settings))
    except ValueError as error:
        raise ConfigError(key(path, "output"), settings.output, str(error)) from None
