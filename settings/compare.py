"""Reading how predictions are compared."""

from __future__ import annotations

from settings import values
from settings.reader import Section
from settings.schema import BOX_FORMATS, KINDS, CompareSettings

_KINDS_OF_KEYS = {
    "tolerance": ("regression", "ranking", "embedding", "text", "json", "boxes", "series"),
    "scale": ("regression", "series"),
    "labels": ("classification",),
    "threshold": ("classification", "boxes"),
    "multi_label": ("classification",),
    "p": ("ranking",),
    "top": ("ranking",),
    "item": ("ranking",),
    "short": ("text",),
    "ignore": ("json", "text"),
    "tolerances": ("json", "text"),
    "iou": ("boxes",),
    "format": ("boxes",),
}
_MOST_LABELS = 10_000
_MOST_PATTERNS = 1000
_SMALLEST, _LARGEST = 1e-12, 1e12


def compare(section: Section, protocol: str | None) -> CompareSettings | None:
    """The comparison; None, with problems kept, when its kind is missing."""
    kind = section.need("kind", values.choice(*KINDS), f"one of {', '.join(KINDS)}")
    output = values.pointer if protocol == "json" else values.text()
    share = values.number(1e-6, 1 - 1e-6)
    defaults = CompareSettings("regression")
    found = CompareSettings(
        kind=kind or defaults.kind,
        output=section.take("output", output, None),
        tolerance=section.take("tolerance", values.number(0, _LARGEST), None),
        scale=section.take("scale", values.number(_SMALLEST, _LARGEST), None),
        labels=section.each("labels", values.text()),
        threshold=section.take("threshold", share, defaults.threshold),
        multi_label=section.take("multi_label", values.boolean, defaults.multi_label),
        p=section.take("p", share, defaults.p),
        top=section.take("top", values.whole(1, 10_000), defaults.top),
        item=section.take("item", values.text(), None),
        short=section.take("short", values.whole(0, 10_000), defaults.short),
        ignore=section.each("ignore", values.pointer),
        tolerances=section.pairs("tolerances", values.pointer, values.number(0, _LARGEST)),
        iou=section.take("iou", values.number(0.01, 1), defaults.iou),
        format=section.take("format", values.choice(*BOX_FORMATS), defaults.format),
    )
    if kind == "classification":
        _check_labels(section, found)
    for key, given in (("ignore", found.ignore), ("tolerances", found.tolerances)):
        if len(given) > _MOST_PATTERNS:
            section.refuse(key, section.given(key), f"name at most {_MOST_PATTERNS} paths")
    for key, kinds in _KINDS_OF_KEYS.items():
        if kind is not None and kind not in kinds and section.holds(key):
            belongs = " or ".join(f"'kind: {name}'" for name in kinds)
            section.refuse(key, section.given(key), f"{key} belongs to {belongs}; leave it out")
    return None if kind is None else found


def _check_labels(section: Section, found: CompareSettings) -> None:
    labels = found.labels
    if len(labels) > _MOST_LABELS:
        section.refuse("labels", section.given("labels"), f"name at most {_MOST_LABELS} classes")
    elif len(set(labels)) < len(labels):
        section.refuse("labels", section.given("labels"), "give each class a name of its own")
    elif len(labels) == 1 and not found.multi_label:
        section.refuse("labels", section.given("labels"), "name every class, two at least, or none")
