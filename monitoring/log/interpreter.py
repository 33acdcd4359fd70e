"""From what a worker handed over to a record: the payloads are read here, and what must not be kept goes.

Redaction comes before everything: what stands at a configured pointer is null in the document from which
features are read and which is kept. A body that cannot be looked into (no JSON, tensors in binary behind it)
is not kept and has no features where anything is redacted, for what is in it is not known.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import OrderedDict
from collections.abc import Callable, Mapping

import orjson

from comparators.distributions import decided_one, decided_row
from comparators.kinds import kind_of, reads_structures
from comparators.labels import Labels
from comparators.prediction import Prediction, Reader, Unreadable
from comparators.readers.body import inflated
from comparators.readers.document import decode
from comparators.readers.pointer import pointer_tokens
from comparators.readers.protocols import reader
from comparators.readers.row import first_row
from comparators.wording import clipped
from domain.errors import ComparatorFault
from domain.media import JSON, Media
from domain.routing import Arm
from monitoring.log.record import Mirrored, PredictionRecord, Value
from monitoring.log.wire import Context, Entry, Reading, decode_reading
from settings.schema import CompareSettings

MOST_ROWS = 1024
"""Predictions of one record; those of further rows are left out."""
LONGEST_TEXT = 1000
"""Characters of a prediction that is neither a number nor a class."""
LONGEST_COHORT = 100
EVERY = "*"
"""In a pointer: every member of an object, every element of an array."""
MOST_CONTEXTS = 256

Predicted = tuple[tuple[Value, ...], float | None]
"""One value a row, and the confidence of the first."""

NOTHING: Predicted = ((), None)


class Interpreter:
    """Makes records. `unit_key` is what units are hashed with, as pairs' units are."""

    def __init__(self, unit_key: bytes) -> None:
        self._unit_hash = hashlib.blake2b(digest_size=8, key=unit_key)
        self._readers: OrderedDict[bytes, PayloadReader] = OrderedDict()

    def record(self, context: Context, entry: Entry) -> tuple[PredictionRecord, bool]:
        """The record, and whether a 2xx answer could be read (or there was none)."""
        payloads = self._reader(context.reading)
        features, kept = payloads.request(entry.request, entry.request_media)
        predictions, confidence = NOTHING
        fine = 200 <= entry.status < 300
        if fine and entry.answer:
            predictions, confidence = payloads.answer(entry.answer, entry.answer_media)
        record = PredictionRecord(
            _text(entry.request_id), context.endpoint, entry.at, self._digest(entry.unit),
            Arm.CANDIDATE if entry.candidate else Arm.INCUMBENT,
            context.candidate if entry.candidate else context.incumbent,
            entry.status, entry.latency, context.generation, context.configuration, entry.reason,
            context.drill,
            payloads.chosen(features), predictions, confidence, payloads.cohorts(entry.cohorts, features),
            "" if entry.request is None else hashlib.sha256(entry.request).hexdigest(),
            kept, self._mirrored(payloads, entry),
        )  # fmt: skip
        return record, bool(predictions) or not fine

    def bare(self, context: Context, entry: Entry) -> PredictionRecord:
        """The record without anything that stands in a payload."""
        other = entry.mirrored
        return PredictionRecord(
            _text(entry.request_id), context.endpoint, entry.at, self._digest(entry.unit),
            Arm.CANDIDATE if entry.candidate else Arm.INCUMBENT,
            context.candidate if entry.candidate else context.incumbent,
            entry.status, entry.latency, context.generation, context.configuration, entry.reason,
            context.drill,
            {}, (), None, (), "" if entry.request is None else hashlib.sha256(entry.request).hexdigest(), b"",
            None if other is None else Mirrored(other.version, other.status, other.latency, (), None),
        )  # fmt: skip

    def _mirrored(self, payloads: PayloadReader, entry: Entry) -> Mirrored | None:
        other = entry.mirrored
        if other is None:
            return None
        predictions, confidence = payloads.answer(other.body, other.media) if other.ok else NOTHING
        return Mirrored(other.version, other.status, other.latency, predictions, confidence)

    def _digest(self, unit: str | None) -> int:
        if unit is None:
            return 0
        digest = self._unit_hash.copy()
        digest.update(unit.encode("utf-8", "replace"))
        return int.from_bytes(digest.digest(), "big")

    def _reader(self, reading: bytes) -> PayloadReader:
        found = self._readers.get(reading)
        if found is None:
            found = self._readers[reading] = PayloadReader(decode_reading(reading))
            if len(self._readers) > MOST_CONTEXTS:
                self._readers.popitem(last=False)
        return found


class PayloadReader:
    """Reads one endpoint's requests and answers."""

    def __init__(self, reading: Reading) -> None:
        settings = reading.compare
        self._reading = reading
        self._reader: Reader = reader(reading.protocol, settings.output, reads_structures(settings))
        self._predicted = _predicted_by(settings)
        self._redacted = [pointer_tokens(pointer) for pointer in reading.redact]
        self._by_feature = [one for one in reading.cohorts if one.startswith("feature:")]

    def request(self, body: bytes | None, media_text: str) -> tuple[Mapping[str, Value], bytes]:
        """Its features, all that are of use, and what is kept of its body."""
        reading = self._reading
        wanted = reading.features is None or reading.features or self._by_feature
        if not body or not (wanted or reading.input):
            return {}, b""
        media = Media.of(media_text) if media_text else JSON
        if self._redacted:
            cleaned = self._clean(body, media)
            if cleaned is None:
                return {}, b""
            body, media = cleaned, JSON
        kept = body if reading.input else b""
        if not wanted:
            return {}, kept
        try:
            return first_row(reading.protocol, body, media), kept
        except Unreadable:
            return {}, kept

    def chosen(self, features: Mapping[str, Value]) -> Mapping[str, Value]:
        """Those that are kept."""
        names = self._reading.features
        if names is None:
            return features
        return {name: features[name] for name in names if name in features}

    def cohorts(
        self, headers: tuple[str | None, ...], features: Mapping[str, Value]
    ) -> tuple[str | None, ...]:
        """A value for each configured cohort."""
        if self._reading.traced:
            headers = headers[:-1]
        if not self._by_feature:
            return headers
        given = iter(headers)
        return tuple(
            _cohort(features, one.removeprefix("feature:")) if one in self._by_feature else next(given, None)
            for one in self._reading.cohorts
        )

    def answer(self, body: bytes, media_text: str) -> Predicted:
        """Its predictions; NOTHING when it cannot be read."""
        try:
            return self._predicted(self._reader.read(body, Media.of(media_text) if media_text else JSON))
        except (Unreadable, ComparatorFault):
            return NOTHING

    def _clean(self, body: bytes, media: Media) -> bytes | None:
        if media.header_length is not None:
            return None
        try:
            document = decode(inflated(body, media))
        except Unreadable:
            return None
        for tokens in self._redacted:
            _redact(document, tokens)
        return orjson.dumps(document)


def _redact(value: object, tokens: tuple[str, ...]) -> None:
    """Put null where `tokens` lead; where they lead nowhere there is nothing to hide."""
    name, rest = tokens[0], tokens[1:]
    if isinstance(value, dict):
        for key in list(value) if name == EVERY else [name]:
            if rest and key in value:
                _redact(value[key], rest)
            elif key in value:
                value[key] = None
    elif isinstance(value, list):
        for index in range(len(value)) if name == EVERY else _index(name, len(value)):
            if rest:
                _redact(value[index], rest)
            else:
                value[index] = None


def _index(name: str, length: int) -> list[int]:
    """The place that `name` means in an array of that length, where it means one."""
    digits = name.isascii() and name.isdigit() and len(name) < 10
    return [int(name)] if digits and int(name) < length else []


def _predicted_by(settings: CompareSettings) -> Callable[[Prediction], Predicted]:
    """How predictions become values, by the kind of what is predicted."""
    if settings.kind == "classification" and not settings.multi_label:
        return _Classes(settings)
    if settings.kind == "regression":
        return _numbers
    kind = kind_of(settings)

    def told(found: Prediction) -> Predicted:
        described = kind.describe(found)
        text = described if isinstance(described, str) else json.dumps(described, ensure_ascii=False)
        confidence = found.confidences[0] if found.confidences else None
        return (clipped(text, LONGEST_TEXT),), confidence

    return told


def _numbers(found: Prediction) -> Predicted:
    """The number of each row; of a row of several, the first."""
    numbers = found.real()[:: found.width][:MOST_ROWS]
    return tuple(None if math.isnan(value) else value for value in numbers), None


class _Classes:
    """The class of each row, and the probability of the first row's."""

    def __init__(self, settings: CompareSettings) -> None:
        self._names = settings.labels
        self._threshold = settings.threshold
        self._labels = Labels(settings.labels)

    def __call__(self, found: Prediction) -> Predicted:
        if found.labels is not None:
            rows = range(min(found.rows, MOST_ROWS))
            return tuple(self._labels.label(found, row * found.width) for row in rows), None
        names = self._names
        if len(names) > 2 and found.width == 1 and found.rows == len(names):
            found = found.reshaped(1, found.rows)
        classes = max(found.width, 2)
        if names and classes != len(names):
            raise Unreadable(f"{found.name} has {classes} classes; {len(names)} labels are configured")
        if found.rows == 1 and found.numbers is not None and len(found.numbers) <= _SHORT:
            fine, index, confidence = decided_row(found.numbers, self._threshold)
            if not fine:
                raise Unreadable(f"{found.name} is no distribution")
            return (names[index] if names else str(index),), min(confidence, 1.0)
        decided = decided_one(found, self._threshold)
        indices = decided.classes[:MOST_ROWS].tolist()
        confidence = min(float(decided.confidences[0]), 1.0)
        return tuple(names[index] if names else str(index) for index in indices), confidence


_SHORT = 64


def _cohort(features: Mapping[str, Value], name: str) -> str | None:
    """A feature's value as text; a number as short as it can be."""
    value = features.get(name)
    if value is None and name not in features and name.isdigit() and int(name) < len(features):
        value = list(features.values())[int(name)]
    if value is None:
        return None
    return clipped(value if isinstance(value, str) else f"{value:g}", LONGEST_COHORT)


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
