"""The feature pipeline as a deployable artefact: one JSON file with a mean and a scale per feature.

It makes the model's inputs: every feature as a standard score, and the products of every two of them.

It lives beside the model, not in it, as feature pipelines do: another team owns it, another job writes it,
and nothing about a request or an answer shows which revision was used.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy
import orjson
from numpy.typing import NDArray


class PipelineError(Exception):
    """The artefact cannot be used; the text names the file, the field and what is allowed."""


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Standard scores z = (x - mean) / scale, and all z_i z_j. Both arrays have shape [features]."""

    features: tuple[str, ...]
    mean: NDArray[numpy.float64]
    scale: NDArray[numpy.float64]
    revision: str

    def transform(self, rows: NDArray[numpy.float64]) -> NDArray[numpy.float64]:
        """`rows` of shape [rows, n] as model inputs of shape [rows, n + n (n + 1) / 2]."""
        scores = (rows - self.mean) / self.scale
        one, other = numpy.triu_indices(len(self.features))
        return numpy.concatenate([scores, scores[:, one] * scores[:, other]], axis=1)

    def write(self, path: Path) -> None:
        """Put the artefact at `path` in one step: a reader sees the old one or the new one, whole."""
        document = {
            "features": self.features,
            "mean": self.mean.tolist(),
            "scale": self.scale.tolist(),
            "revision": self.revision,
        }
        draft = path.with_suffix(".draft")
        draft.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2))
        os.replace(draft, path)

    @staticmethod
    def fit(features: tuple[str, ...], rows: NDArray[numpy.float64], revision: str) -> Pipeline:
        """Mean and standard deviation of `rows`; a feature that never varies keeps a scale of 1."""
        deviation = rows.std(axis=0)
        return Pipeline(features, rows.mean(axis=0), numpy.where(deviation > 0, deviation, 1.0), revision)

    @staticmethod
    def read(path: Path) -> Pipeline:
        """Raises PipelineError."""
        try:
            document = orjson.loads(path.read_bytes())
        except (OSError, orjson.JSONDecodeError) as error:
            raise PipelineError(f"{path}: cannot be read as JSON: {error}") from error
        try:
            features = tuple(str(name) for name in document["features"])
            mean = numpy.array(document["mean"], dtype=numpy.float64)
            scale = numpy.array(document["scale"], dtype=numpy.float64)
            revision = str(document["revision"])
        except (KeyError, TypeError, ValueError) as error:
            raise PipelineError(f"{path}: needs features, mean, scale and revision: {error!r}") from error
        if mean.shape != (len(features),) or scale.shape != (len(features),):
            raise PipelineError(
                f"{path}: mean {mean.shape} and scale {scale.shape} must have shape ({len(features)},)"
            )
        if not (numpy.isfinite(mean).all() and numpy.isfinite(scale).all() and (scale > 0).all()):
            raise PipelineError(f"{path}: mean must be finite and scale above 0")
        return Pipeline(features, mean, scale, revision)


class PipelineFile:
    """The artefact at `path` as last read whole; `refresh` picks up a new one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp = _stamp(path)
        self.current = Pipeline.read(path)

    def refresh(self) -> bool:
        """Read the file again if it changed; True when a new artefact is in use.

        Raises PipelineError for a file that cannot be used (once per change): the one in use stays.
        """
        try:
            stamp = _stamp(self._path)
        except FileNotFoundError:
            return False
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        fresh = Pipeline.read(self._path)
        if fresh.features != self.current.features:
            raise PipelineError(
                f"{self._path}: the model takes {self.current.features}, not {fresh.features}"
            )
        self.current = fresh
        return True


def _stamp(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_ino, status.st_size
