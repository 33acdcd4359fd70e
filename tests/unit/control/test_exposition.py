"""The text that scrapers read, against the client library's own writers and parsers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from control.exposition import OPENMETRICS, PROMETHEUS, Format, HistogramsFamily, ended, negotiated, written
from control.tallies import LONGEST_EXEMPLAR, Exemplar, Histogram, Histograms
from shadow.wire import OVERHEAD_BOUNDS

VALUES = st.floats() | st.integers(0, 2**40)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


class Page(Collector):
    """The families as the client library has them."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        for family in self._families:
            yield family.expanded() if isinstance(family, HistogramsFamily) else family


def text(families: list[Metric], form: Format) -> str:
    return "".join(written(family, form) for family in families) + ended(form)


def gauge(values: dict[tuple[str, str], float], help_text: str = "Help.") -> Metric:
    family = GaugeMetricFamily("pointsman_gauge", help_text, labels=("zone", "arm"))
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def counter(values: dict[tuple[str, str], float]) -> Metric:
    family = CounterMetricFamily("pointsman_counter", "Help.", labels=("zone", "arm"))
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def histograms(values: dict[tuple[str, str], list[float]]) -> HistogramsFamily:
    found = Histograms(OVERHEAD_BOUNDS)
    for key, seconds in values.items():
        for number, one in enumerate(seconds):
            found.of(*key).add(one)
            found.of(*key).remember(Exemplar(f"r-{number}", one, 1000.5 + number))
    return HistogramsFamily("pointsman_seconds", 'With "quotes".', ("zone", "arm"), found)


@settings(deadline=None)
@given(
    st.dictionaries(st.tuples(TEXTS, TEXTS), VALUES, max_size=4),
    st.dictionaries(st.tuples(TEXTS, TEXTS), st.lists(st.floats(0, 1), min_size=1, max_size=4), max_size=3),
    TEXTS,
)
def test_what_is_written_is_what_the_client_library_writes(
    values: dict[tuple[str, str], float], seconds: dict[tuple[str, str], list[float]], help_text: str
) -> None:
    families = [gauge(values, help_text), counter(values), histograms(seconds)]
    assert text(families, PROMETHEUS).encode() == generate_latest(Page(families))
    assert text(families, OPENMETRICS).encode() == generate_openmetrics(Page(families))


def test_exemplars_name_the_latest_request_of_each_bucket_in_openmetrics_only() -> None:
    family = histograms({("z", "a"): [0.000_02, 0.000_03, 0.000_025]})
    assert "r-" not in text([family], PROMETHEUS)
    (read,) = text_string_to_metric_families(text([family], OPENMETRICS))
    told = {sample.labels["le"]: sample.exemplar for sample in read.samples if sample.exemplar}
    assert {le: (one.labels["request_id"], one.value) for le, one in told.items()} == {
        "2.5e-05": ("r-2", 0.000_025),
        "5e-05": ("r-1", 0.000_03),
    }


def test_a_request_id_that_openmetrics_has_no_room_for_is_no_exemplar() -> None:
    histogram = Histogram((1.0,))
    histogram.remember(Exemplar("r" * (LONGEST_EXEMPLAR + 1), 0.5, 1.0))
    histogram.remember(Exemplar("", 0.5, 1.0))
    assert histogram.exemplars == {}


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", PROMETHEUS),
        ("*/*", PROMETHEUS),
        ("text/plain", PROMETHEUS),
        ("application/openmetrics-text", OPENMETRICS),
        ('application/openmetrics-text; version="1.0.0"', OPENMETRICS),
        ("application/openmetrics-text;version=2.0.0", PROMETHEUS),
        ("application/openmetrics-text;q=0", PROMETHEUS),
        ("application/openmetrics-text;q=abc", PROMETHEUS),
        ("application/openmetrics-text;q=0.3,text/plain;q=0.5", PROMETHEUS),
        (  # Prometheus 2.42
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
                "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
            ),
            OPENMETRICS,
        ),
        (  # Prometheus 3
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
                "application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;"
                "q=0.3,text/plain;version=0.0.4;q=0.2,/;q=0.1"
            ),
            OPENMETRICS,
        ),
    ],
)
def test_openmetrics_goes_to_whoever_prefers_it(accept: str, form: Format) -> None:
    assert negotiated(accept) is form


def test_histograms_are_written_in_less_than_half_of_the_library_s_time() -> None:
    family = histograms({(f"z{number}", "a"): [0.001, 0.5] for number in range(300)})

    def cost(work: Callable[[], object]) -> float:
        """Processor seconds, at best: both are measured in one process, by turns."""
        began = time.process_time()
        work()
        return time.process_time() - began

    turns = [
        (
            cost(lambda: written(family, PROMETHEUS).encode()),
            cost(lambda: generate_latest(Page([family]))),
        )
        for _ in range(7)
    ]
    assert min(ours for ours, _ in turns) < 0.5 * min(theirs for _, theirs in turns)
