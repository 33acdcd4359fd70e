"""Profiles: how each column of requests and predictions was distributed once; what drift is measured by.

A column is a feature, the prediction, or its confidence. Its values fall into cells that the profile fixes
for good: bins of numbers, cut at the tenths of what it was made of; the texts that were most frequent there,
a cell each; all other texts; and what is neither. Whatever a client sends falls into one of them: a number
where texts were, nothing where numbers were. So a change of type is drift like any other, and counts of
different hours and replicas are sums.

A profile is known by its digest. Another one, be it by a single row, is another digest.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from comparators.bins import bins_of, quantile_edges
from monitoring.log.record import Value

Floats = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]

PREDICTION, CONFIDENCE = "prediction", "confidence"
FEATURE = "feature:"
"""What a feature's column is called by, followed by its name."""

BINS = 10
MOST_COLUMNS = 256
LARGEST = 1e100
"""Numbers beyond it count as it, so that their sums stay finite."""
LONGEST_NAME = 200


class ColumnProfile(msgspec.Struct, frozen=True):
    """How one column was distributed.

    Attributes:
        name: `prediction`, `confidence`, or `feature:` and the feature's name.
        edges: ascending; they cut numbers into len(edges) + 1 bins.
        categories: the most frequent texts, most frequent first.
        counts: rows by cell: the bins, the categories, other texts, neither number nor text.
        means: of the numbers in each bin; 0 where there were none.
        sigma: the numbers' standard deviation.
        lowest, highest: of the numbers; None where there were none.
    """

    name: str
    edges: tuple[float, ...]
    categories: tuple[str, ...]
    counts: tuple[int, ...]
    means: tuple[float, ...]
    sigma: float
    lowest: float | None
    highest: float | None

    def __post_init__(self) -> None:
        """Raises ValueError when the cells do not fit together."""
        if len(self.counts) != self.bins + len(self.categories) + 2 or len(self.means) != self.bins:
            raise ValueError(f"column {self.name}: its counts are of other cells")
        if list(self.edges) != sorted(set(self.edges)) or min(self.counts) < 0 or not sum(self.counts):
            raise ValueError(f"column {self.name}: edges must ascend, counts be 0 or more, one of them more")

    @property
    def bins(self) -> int:
        """How many cells are of numbers: the first ones."""
        return len(self.edges) + 1

    @property
    def other(self) -> int:
        """The cell of texts that are no category. The one after it, the last, is of what is neither."""
        return self.bins + len(self.categories)

    @property
    def rows(self) -> int:
        """How many it was made of."""
        return sum(self.counts)

    @property
    def shares(self) -> Floats:
        """Of shape (cells,); they sum to 1."""
        return np.array(self.counts, dtype=np.float64) / self.rows

    @property
    def numbers(self) -> int:
        """Rows that held a number."""
        return sum(self.counts[: self.bins])

    @property
    def texts(self) -> int:
        """Rows that held a text."""
        return sum(self.counts[self.bins : -1])

    @property
    def kind(self) -> str:
        """What it mostly holds: `number`, `text`, or `nothing`."""
        if not self.numbers and not self.texts:
            return "nothing"
        return "number" if self.numbers >= self.texts else "text"

    def cells(self, values: Sequence[Value]) -> Whole:
        """The cell of each value."""
        found = np.full(len(values), len(self.counts) - 1, dtype=np.int64)
        numbers = [at for at, value in enumerate(values) if is_number(value)]
        if numbers:
            found[numbers] = bins_of(self.edges, clipped([values[at] for at in numbers]))
        if len(numbers) < len(values):
            places = {text: self.bins + at for at, text in enumerate(self.categories)}
            for at, value in enumerate(values):
                if isinstance(value, str):
                    found[at] = places.get(value, self.other)
        return found


class Profile(msgspec.Struct, frozen=True):
    """All columns of an endpoint.

    Attributes:
        origin: where it is from, for people: `learned`, or which file or data set.
        since, until: when the first and the last of its rows were seen (seconds since 1970); None for a file.
    """

    columns: tuple[ColumnProfile, ...]
    origin: str
    since: float | None = None
    until: float | None = None

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of its columns, in their order: the same rows give the same."""
        return hashlib.sha256(msgspec.json.encode(self.columns)).hexdigest()

    @property
    def rows(self) -> int:
        """How many it was made of."""
        return max((one.rows for one in self.columns), default=0)


def is_number(value: object) -> bool:
    """Whether it is a finite number. Infinity and NaN are nothing: they have no place among others."""
    return isinstance(value, int | float) and math.isfinite(value)


def clipped(values: Sequence[object]) -> Floats:
    """The numbers `values` within ±LARGEST."""
    return np.clip(np.array(values, dtype=np.float64), -LARGEST, LARGEST)


def column(name: str, values: Sequence[Value], categories: int) -> ColumnProfile:
    """The profile of a column with these values, one or more, and at most so many categories."""
    numbers = clipped([value for value in values if is_number(value)])
    edges = quantile_edges(numbers, BINS)
    bins = bins_of(edges, numbers)
    counts = np.bincount(bins, minlength=len(edges) + 1)
    sums = np.bincount(bins, weights=numbers, minlength=len(edges) + 1)
    texts = Counter(value for value in values if isinstance(value, str))
    # By count and then by name, so that the same rows in another order give the same profile.
    frequent = sorted(texts, key=lambda text: (-texts[text], text))[:categories]
    other = texts.total() - sum(texts[text] for text in frequent)
    missing = len(values) - len(numbers) - texts.total()
    return ColumnProfile(
        name,
        edges,
        tuple(frequent),
        (*counts.tolist(), *(texts[text] for text in frequent), other, missing),
        tuple((sums / np.maximum(counts, 1)).tolist()),
        float(numbers.std()) if len(numbers) else 0.0,
        float(numbers.min()) if len(numbers) else None,
        float(numbers.max()) if len(numbers) else None,
    )


def profile(
    columns: Mapping[str, Sequence[Value]],
    origin: str,
    *,
    categories: int,
    since: float | None = None,
    until: float | None = None,
) -> Profile:
    """The profile of these columns, by name; those of nothing but missing values are left out.

    Raises ValueError when nothing is left.
    """
    named = list(columns.items())[:MOST_COLUMNS]
    found = [column(name, values, categories) for name, values in named if len(values)]
    kept = tuple(one for one in found if one.kind != "nothing")
    if not kept:
        raise ValueError("there is no column with numbers or texts")
    return Profile(kept, origin, since, until)


def gathered(rows: Iterable[Mapping[str, Value]]) -> dict[str, list[Value]]:
    """`rows` as columns by name, in the order of appearance; what half of the rows lack is left out.

    What clients send names the columns: at most MOST_COLUMNS of them count.
    """
    found: dict[str, list[Value]] = {}
    count = 0
    for row in rows:
        for name, value in row.items():
            if name not in found:
                if len(found) >= MOST_COLUMNS or len(name) > LONGEST_NAME:
                    continue
                found[name] = [None] * count
            found[name].append(value)
        count += 1
        for values in found.values():
            if len(values) < count:
                values.append(None)
    return {
        name: values
        for name, values in found.items()
        if 2 * sum(value is not None for value in values) >= count
    }
