"""The daily weather series: 18 159 days, 8 features, and whether it rained. See PROVENANCE.md."""

from __future__ import annotations

import csv
import gzip
import io
from dataclasses import dataclass
from importlib.resources import files

import numpy
from numpy.typing import NDArray

FEATURES = (
    "temperature",
    "dew point",
    "sea-level pressure",
    "visibility",
    "average wind speed",
    "max sustained wind-speed",
    "minimum temperature",
    "maximum temperature",
)

ROTATED_FROM = 12_000
"""From this day on the published file holds every feature one column to the left of its heading."""

MISSING = 50.0
"""Standard deviations. Two days carry the pressure 9999.9, NOAA's sign for a missing reading."""


@dataclass(frozen=True, slots=True)
class Series:
    """Days in order: `rows` of shape [days, 8] in standard deviations, `rained` of shape [days], 0 or 1."""

    rows: NDArray[numpy.float64]
    rained: NDArray[numpy.int64]

    def __len__(self) -> int:
        return len(self.rained)


def load() -> Series:
    """The series with the file's two flaws mended: rotated columns put back, missing readings filled in."""
    packed = files("examples.rain").joinpath("rainfall.csv.gz").read_bytes()
    lines = csv.reader(io.StringIO(gzip.decompress(packed).decode("ascii")))
    heading = next(lines)
    if tuple(heading[1:9]) != FEATURES:
        raise ValueError(f"rainfall.csv.gz: columns {heading[1:9]}, expected {FEATURES}")
    table = numpy.array(list(lines), dtype=numpy.float64)
    return Series(mended(table[:, 1:9]), table[:, 9].astype(numpy.int64))


def mended(rows: NDArray[numpy.float64]) -> NDArray[numpy.float64]:
    """`rows` as published, shape [days, 8], with every feature in its own column and no missing reading."""
    whole = rows.copy()
    whole[ROTATED_FROM:] = numpy.roll(rows[ROTATED_FROM:], 1, axis=1)
    for day, feature in zip(*numpy.nonzero(numpy.abs(whole) > MISSING), strict=True):
        whole[day, feature] = whole[day - 1, feature]
    return whole
