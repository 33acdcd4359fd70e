"""Which kind of comparison an endpoint's settings ask for."""

from __future__ import annotations

import math
from collections.abc import Callable

from comparators.boxes import Boxes
from comparators.classification import Classification
from comparators.embedding import Embedding
from comparators.kind import Kind
from comparators.multilabel import MultiLabel
from comparators.patterns import Patterns
from comparators.ranking import Ranking
from comparators.regression import Regression
from comparators.series import Series
from comparators.text import Text, TextScorer
from comparators.tree import Tree
from domain.errors import ConfigError
from settings.schema import BOX_FORMATS, KINDS, CompareSettings

_STRUCTURED = frozenset(("ranking", "text", "json", "boxes"))


def kind_of(settings: CompareSettings, path: str = "", scorer: TextScorer | None = None) -> Kind:
    """The comparison that `settings` describe; `path` is where they stand in the configuration.

    `scorer` takes the place of letters and words when texts are compared. Raises ConfigError.
    """
    _check(settings, path)
    if settings.kind == "classification":
        return MultiLabel(settings) if settings.multi_label else Classification(settings)
    if settings.kind == "text":
        return Text(settings, scorer)
    return _MAKERS[settings.kind](settings)


def reads_structures(settings: CompareSettings) -> bool:
    """Whether what is compared may be other than a table of numbers or labels."""
    return settings.kind in _STRUCTURED or (settings.kind == "classification" and settings.multi_label)


def key(path: str, name: str) -> str:
    """The path of the key `name` below `path`."""
    return f"{path}.{name}" if path else name


_MAKERS: dict[str, Callable[[CompareSettings], Kind]] = {
    "regression": Regression,
    "ranking": Ranking,
    "embedding": Embedding,
    "json": Tree,
    "boxes": Boxes,
    "series": Series,
}


def _check(settings: CompareSettings, path: str) -> None:
    def demand(holds: bool, name: str, value: object, allowed: str) -> None:
        if not holds:
            raise ConfigError(key(path, name), value, allowed)

    demand(settings.kind in KINDS, "kind", settings.kind, f"one of {', '.join(KINDS)}")
    scale, tolerance, labels = settings.scale, settings.tolerance, settings.labels
    demand(scale is None or 0 < scale < math.inf, "scale", scale, "a number above 0")
    demand(tolerance is None or 0 <= tolerance < math.inf, "tolerance", tolerance, "a number, 0 or more")
    demand(0 < settings.threshold < 1, "threshold", settings.threshold, "a number between 0 and 1")
    fewest = 1 if settings.multi_label else 2
    told = "name every class, or none" if settings.multi_label else "name every class, two at least, or none"
    demand(not labels or len(labels) >= fewest, "labels", labels, told)
    distinct = all(labels) and len(set(labels)) == len(labels)
    demand(distinct, "labels", labels, "give each class a name of its own")
    demand(0 < settings.p < 1, "p", settings.p, "a number between 0 and 1")
    demand(settings.top >= 1, "top", settings.top, "a whole number, 1 or more")
    demand(settings.short >= 0, "short", settings.short, "a whole number, 0 or more")
    demand(0 < settings.iou <= 1, "iou", settings.iou, "a number above 0, up to 1")
    demand(settings.format in BOX_FORMATS, "format", settings.format, f"one of {', '.join(BOX_FORMATS)}")
    for name, patterns in (("ignore", settings.ignore), ("tolerances", dict(settings.tolerances))):
        for pattern in patterns:
            try:
                Patterns([(pattern, True)])
            except ValueError as error:
                raise ConfigError(key(path, name), pattern, str(error)) from None
    for pattern, apart in settings.tolerances:
        demand(0 <= apart < math.inf, f"tolerances.{pattern}", apart, "a number, 0 or more")
