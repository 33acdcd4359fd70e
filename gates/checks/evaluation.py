"""The evaluation gate: is the candidate as good as the incumbent on data that neither has seen.

Both versions are asked for every row of a held-out file, at their real servers. The candidate passes when the
lower bound of its score minus the incumbent's is not below −tolerance, fails when the upper bound is, and in
between there are too few rows to say. See `gates.confidence` for the bounds: exact for accuracy, a paired
bootstrap for every other metric. A row that either version does not answer is no evidence about the other:
the gate is an ERROR then, never a score on the rest.
"""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from comparators.comparison import Comparison
from comparators.prediction import Prediction, Unreadable
from comparators.readers.protocols import reader
from domain.errors import GateError
from domain.verdict import Verdict
from gates.confidence import FEWEST_ROWS, bootstrap_bounds, difference_bounds
from gates.files import Files, Table
from gates.gate import GateContext
from gates.payloads import bodies, inputs_of
from gates.result import Judgement
from gates.server import ModelServer
from gates.together import together
from settings.criteria import EvaluationGate
from settings.schema import EndpointSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gates.scoring import Predicted

EXACT = "accuracy"
"""The metric whose difference has exact bounds."""

_AT_ONCE = 8
_KINDS = ("classification", "regression")


class Evaluation:
    """Accuracy, or any other metric, on held-out data."""

    name = "evaluation"

    def __init__(self, settings: EvaluationGate) -> None:
        self._settings = settings

    async def run(self, context: GateContext) -> Judgement:
        """See `gates.gate.Gate`."""
        endpoint, settings = context.endpoint, self._settings
        if importlib.util.find_spec("sklearn") is None:
            raise GateError("metrics are scikit-learn's: install it with pip install 'pointsman[gates]'")
        from gates import scoring

        scoring.demand(settings.metric)
        if endpoint.compare.kind not in _KINDS or endpoint.compare.multi_label:
            raise GateError(
                f"{endpoint.compare.kind} predictions have no metric of scikit-learn here; "
                "the evaluation gate scores one class or number a row, write a custom gate for others"
            )
        table = await context.aside(lambda: context.files.table(settings.data))
        truths = scoring.truth(
            table.column(settings.label, "the label"), f"column {settings.label!r}", endpoint.compare
        )
        requests = await requests_of(settings, table, endpoint, context.candidate)
        said = [
            scoring.predicted(await _ask(server, endpoint, requests, table.rows), endpoint.compare)
            for server in (context.incumbent, context.candidate)
        ]
        seed = int(context.files.read_so_far[0][1][:16], 16)
        return await context.aside(lambda: self._judge(truths, said, endpoint.compare.kind, seed))

    def _judge(self, truths: NDArray[Any], said: Sequence[Predicted], kind: str, seed: int) -> Judgement:
        from gates import scoring

        settings, rows = self._settings, len(truths)
        metric, error = settings.metric, 1.0 - settings.confidence
        incumbent, candidate = (scoring.scorer(metric, truths, one, kind) for one in said)
        everything = np.arange(rows)
        scores = incumbent(everything), candidate(everything)
        difference = scores[1] - scores[0]
        if metric == EXACT:
            right = [one.values == truths for one in said]
            better, worse = int((right[1] & ~right[0]).sum()), int((right[0] & ~right[1]).sum())
            low, high = difference_bounds(better, worse, rows, error)
        elif rows < FEWEST_ROWS:
            low, high = -np.inf, np.inf
        else:
            try:
                low, high = bootstrap_bounds(
                    lambda places: candidate(places) - incumbent(places), rows, error, seed
                )
            except ValueError as problem:
                raise GateError(f"the metric {metric} cannot be bounded: {problem}") from problem
        numbers = {
            "incumbent": scores[0], "candidate": scores[1], "difference": difference,
            "low": float(low), "high": float(high), "tolerance": settings.tolerance, "rows": float(rows),
        }  # fmt: skip
        shown = (
            f"{metric} {scores[1]:.4g} against the incumbent's {scores[0]:.4g} on {rows} rows: the "
            f"difference lies between {low:+.2g} and {high:+.2g} ({settings.confidence:.4g} each), "
            f"tolerated is −{settings.tolerance:g}"
        )
        finite = {name: value for name, value in numbers.items() if np.isfinite(value)}
        if low >= -settings.tolerance:
            return Judgement(Verdict.PASS, shown, finite)
        if high < -settings.tolerance:
            return Judgement(Verdict.FAIL, shown, finite)
        return Judgement(Verdict.INCONCLUSIVE, f"{shown}; more rows are needed to say", finite)


async def requests_of(
    settings: EvaluationGate, table: Table, endpoint: EndpointSettings, server: ModelServer
) -> list[bytes]:
    """The bodies that carry every row of `table`, in order. Raises GateError."""
    if settings.request is not None:
        cells = table.column(settings.request, "whole requests")
        wrong = next((at for at, cell in enumerate(cells) if not isinstance(cell, str)), None)
        if wrong is not None:
            raise GateError(f"column {settings.request!r} has no request in row {wrong + 1}")
        return [str(cell).encode() for cell in cells]
    names = settings.features or tuple(name for name in table.columns if name != settings.label)
    if not names:
        raise GateError(f"{table.path} has no column but the label: there is nothing to send")
    columns = [table.column(name, "a feature") for name in names]
    rows = list(zip(*columns, strict=True))
    inputs = inputs_of(await server.metadata()) if endpoint.protocol == "v2" else ()
    return bodies(endpoint.protocol, names, rows, settings.batch, inputs)


async def example_requests(context: GateContext, most: int) -> list[bytes]:
    """Up to `most` requests, one row each: recorded ones, or rows of the held-out data. Raises GateError."""
    gates = context.endpoint.gates
    if gates.requests is not None:
        path = gates.requests
        return await context.aside(lambda: context.files.lines(path, most))
    if gates.evaluation is None:
        return []
    settings = gates.evaluation
    table = await context.aside(lambda: _head(context.files, settings.data, most))
    single = EvaluationGate(
        settings.data, settings.label, settings.metric, settings.tolerance,
        features=settings.features, request=settings.request, batch=1,
    )  # fmt: skip
    return await requests_of(single, table, context.endpoint, context.candidate)


def _head(files: Files, path: str, most: int) -> Table:
    table = files.table(path)
    return Table(path, {name: cells[:most] for name, cells in table.columns.items()})


async def _ask(
    server: ModelServer, endpoint: EndpointSettings, requests: Sequence[bytes], rows: int
) -> list[Prediction]:
    """The predictions for `requests`, in order. Raises GateError for the first that gives none."""
    Comparison(endpoint.protocol, endpoint.compare)  # refuses an output that cannot be
    read = reader(endpoint.protocol, endpoint.compare.output, structured=False)
    slots = asyncio.Semaphore(_AT_ONCE)

    async def one(at: int, body: bytes) -> Prediction:
        async with slots:
            reply = await server.predict(body)
        if not reply.ok:
            raise GateError(f"{server} answers request {at + 1} with {reply.brief()}")
        try:
            return read.read(reply.body, reply.media)
        except Unreadable as error:
            raise GateError(
                f"{server}'s answer to request {at + 1} cannot be read: {error.reason}"
            ) from error

    found = await together(one(at, body) for at, body in enumerate(requests))
    answered = sum(part.rows for part in found)
    if answered != rows:
        raise GateError(f"{server} answers {answered} rows; {rows} were sent: is compare.output right?")
    return found
