"""Which reader reads which payload protocol."""

from __future__ import annotations

from comparators.prediction import Reader
from comparators.readers.mlflow import MlflowReader
from comparators.readers.openai import OpenAiReader
from comparators.readers.plain import PlainReader
from comparators.readers.seldon import SeldonReader
from comparators.readers.tfserving import TfServingReader
from comparators.readers.v2 import V2Reader

_READERS: dict[
    str, type[V2Reader | MlflowReader | TfServingReader | SeldonReader | OpenAiReader | PlainReader]
]
_READERS = {
    "v2": V2Reader,
    "mlflow": MlflowReader,
    "tfserving": TfServingReader,
    "seldon": SeldonReader,
    "openai": OpenAiReader,
    "json": PlainReader,
}

PROTOCOLS: tuple[str, ...] = tuple(_READERS)
"""The payload protocols that are read."""


def reader(protocol: str, output: str | None, structured: bool) -> Reader:
    """The reader of `output` (None: the first, or everything) in one of PROTOCOLS.

    `structured` readers answer what is no table of numbers or labels as a structure; to others it is
    Unreadable. Raises ValueError, saying what is allowed, for an output that can be none.
    """
    return _READERS[protocol](output, structured)
