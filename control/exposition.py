"""Metrics as text, in Prometheus' own format and in OpenMetrics.

Why not the client library's writer: with 50 endpoints there are some 15 000 samples, nearly all of them
buckets of histograms, and it makes an object and sorts a mapping for each. Here a histogram is written from
its counts, and families are written one by one, so that a trip never waits for a whole page. What comes out
is byte for byte what the library writes (a test holds it against that); OpenMetrics also carries the
exemplars that `control.tallies` keeps.

Formats: https://prometheus.io/docs/instrumenting/exposition_formats/ (0.0.4), and OpenMetrics 1.0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import NamedTuple

from prometheus_client.core import Metric
from prometheus_client.samples import Exemplar as SampleExemplar
from prometheus_client.samples import Sample
from prometheus_client.utils import floatToGoString

from control.tallies import Exemplar, Histograms

_EXACT = 1_000_000
"""Whole numbers below it are written without an exponent."""
_OPENMETRICS = "application/openmetrics-text"
_WRITTEN = frozenset({"", "0.0.1", "1.0.0"})


class Format(NamedTuple):
    """One of the two formats, and how it is called in HTTP."""

    openmetrics: bool
    media_type: str


PROMETHEUS = Format(False, "text/plain; version=0.0.4; charset=utf-8")
OPENMETRICS = Format(True, f"{_OPENMETRICS}; version=1.0.0; charset=utf-8")


class HistogramsFamily(Metric):
    """Histograms with the same bounds, by labels; `name` with the prefix. It has no samples of its own."""

    def __init__(self, name: str, text: str, labels: tuple[str, ...], values: Histograms) -> None:
        super().__init__(name, text, "histogram")
        self.labels = labels
        self.values = values
        self.bounds = [_text(bound) for bound in (*values.bounds, float("inf"))]

    def expanded(self) -> Metric:
        """The same as the client library has it, a sample a bucket."""
        family = Metric(self.name, self.documentation, "histogram")
        for key, histogram in self.values.by_labels.items():
            labels = dict(zip(self.labels, key, strict=True))
            seen = 0
            for place, (bound, count) in enumerate(zip(self.bounds, histogram.counts, strict=True)):
                seen += count
                known = histogram.exemplars.get(place)
                exemplar = known and SampleExemplar({"request_id": known.request_id}, known.value, known.at)
                family.samples.append(
                    Sample(f"{self.name}_bucket", {**labels, "le": bound}, seen, None, exemplar)
                )
            family.samples.append(Sample(f"{self.name}_count", labels, seen))
            family.samples.append(Sample(f"{self.name}_sum", labels, histogram.total))
        return family


def negotiated(accept: str) -> Format:
    """The format for a scraper that sent `accept`: OpenMetrics where it is asked for and not liked less."""
    liked = {PROMETHEUS: 0.0, OPENMETRICS: 0.0}
    for part in accept.split(","):
        media, *parameters = (piece.strip() for piece in part.split(";"))
        named = {name: value for name, _, value in (one.partition("=") for one in parameters)}
        version = named.get("version", "").strip('"')
        if media == _OPENMETRICS and version in _WRITTEN:
            liked[OPENMETRICS] = max(liked[OPENMETRICS], _quality(named.get("q", "1")))
        elif media == "text/plain":
            liked[PROMETHEUS] = max(liked[PROMETHEUS], _quality(named.get("q", "1")))
    openmetrics = liked[OPENMETRICS]
    return OPENMETRICS if openmetrics > 0 and openmetrics >= liked[PROMETHEUS] else PROMETHEUS


def written(family: Metric, form: Format) -> str:
    """`family` in the format `form`, its HELP and TYPE first."""
    name = family.name
    if family.type == "counter" and not form.openmetrics:
        name += "_total"
    text = family.documentation.replace("\\", r"\\").replace("\n", r"\n")
    if form.openmetrics:
        text = text.replace('"', r"\"")
    head = f"# HELP {name} {text}\n# TYPE {name} {family.type}\n"
    if isinstance(family, HistogramsFamily):
        return head + "".join(_histograms(family, form))
    return head + "".join(_sample(sample) for sample in family.samples)


def ended(form: Format) -> str:
    """What stands below all families."""
    return "# EOF\n" if form.openmetrics else ""


def escaped(value: str) -> str:
    """`value` as it stands between the quotes of a label."""
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _quality(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _sample(sample: Sample) -> str:
    return f"{sample.name}{_labels(sample.labels)} {_number(sample.value)}\n"


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{escaped(labels[name])}"' for name in sorted(labels)) + "}"


def _number(value: float) -> str:
    if type(value) is int and 0 <= value < _EXACT:
        return f"{value}.0"
    return _text(value)


def _text(value: float) -> str:
    text: str = floatToGoString(value)  # type: ignore[no-untyped-call]  # of the client library, which has no types
    return text


def _histograms(family: HistogramsFamily, form: Format) -> Iterator[str]:
    name = family.name
    for key, histogram in family.values.by_labels.items():
        labels = dict(zip(family.labels, key, strict=True))
        before = "".join(f'{one}="{escaped(labels[one])}",' for one in sorted(labels) if one < "le")
        after = "".join(f',{one}="{escaped(labels[one])}"' for one in sorted(labels) if one > "le")
        reached = list(accumulate(histogram.counts))
        start, end = f'{name}_bucket{{{before}le="', f'"{after}}} '
        if form.openmetrics and (known := histogram.exemplars):
            for place, (bound, seen) in enumerate(zip(family.bounds, reached, strict=True)):
                told = _exemplar(known[place]) if place in known else ""
                yield f"{start}{bound}{end}{_number(seen)}{told}\n"
        else:
            for bound, seen in zip(family.bounds, reached, strict=True):
                yield f"{start}{bound}{end}{_number(seen)}\n"
        alone = _labels(labels)
        yield f"{name}_count{alone} {_number(reached[-1])}\n{name}_sum{alone} {_number(histogram.total)}\n"


def _exemplar(one: Exemplar) -> str:
    return f' # {{request_id="{escaped(one.request_id)}"}} {_text(one.value)} {one.at}'
