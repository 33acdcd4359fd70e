"""The schema gate: does the candidate accept what the incumbent accepts, and answer what can be read?

Where both servers describe their inputs (V2, "Model Metadata"), each input of the incumbent must be there in
the candidate with the same datatype and a shape that admits the incumbent's, no further input may be asked
for, and each output must still be there. Then requests are sent to both: recorded ones, rows of held-out
data, or, where there are neither, one of zeros that the metadata describe. What the incumbent accepts the
candidate must accept, too, and answer with a prediction that can be read.
"""

from __future__ import annotations

from comparators.prediction import Unreadable
from comparators.readers.protocols import reader
from domain.errors import GateError
from domain.verdict import Verdict
from gates.checks.evaluation import example_requests
from gates.gate import GateContext
from gates.payloads import Input, example, inputs_of
from gates.result import Judgement
from settings.criteria import SchemaGate


class Schema:
    """The candidate's signature against the incumbent's."""

    name = "schema"

    def __init__(self, settings: SchemaGate) -> None:
        self._settings = settings

    async def run(self, context: GateContext) -> Judgement:
        """See `gates.gate.Gate`."""
        described = [await one.metadata() for one in (context.incumbent, context.candidate)]
        inputs = [inputs_of(one) for one in described]
        differences: list[str] = []
        if inputs[0]:
            differences = narrower(inputs[0], inputs[1]) + _lost_outputs(described[0], described[1])
        requests = await example_requests(context, self._settings.requests)
        if not requests and inputs[0]:
            requests = [example(inputs[0])]
        if not requests:
            raise GateError("the servers describe nothing, and there is nothing to send: give gates.requests")
        accepted, refused = await self._ask(context, requests)
        numbers = {
            "requests": float(len(requests)),
            "accepted_by_incumbent": float(accepted),
            "refused_by_candidate": float(len(refused)),
            "differences": float(len(differences)),
        }
        if differences or refused:
            return Judgement(Verdict.FAIL, "; ".join([*differences, *refused[:3]]), numbers)
        if not accepted:
            shown = f"the incumbent itself accepts none of {len(requests)} requests"
            return Judgement(Verdict.INCONCLUSIVE, shown, numbers)
        described_too = f", and its {len(inputs[0])} inputs" if inputs[0] else ""
        shown = f"the candidate accepts all {accepted} requests that the incumbent accepts{described_too}"
        return Judgement(Verdict.PASS, shown, numbers)

    async def _ask(self, context: GateContext, requests: list[bytes]) -> tuple[int, list[str]]:
        """How many requests the incumbent accepts, and why the candidate accepts some of them not."""
        endpoint = context.endpoint
        read = reader(endpoint.protocol, endpoint.compare.output, structured=True)
        accepted, refused = 0, []
        for at, body in enumerate(requests):
            if not (await context.incumbent.predict(body)).ok:
                continue
            accepted += 1
            reply = await context.candidate.predict(body)
            if not reply.ok:
                refused.append(f"the candidate answers request {at + 1} with {reply.brief()}")
                continue
            try:
                read.read(reply.body, reply.media)
            except Unreadable as error:
                refused.append(f"the candidate's answer to request {at + 1} cannot be read: {error.reason}")
        return accepted, refused


def narrower(incumbent: tuple[Input, ...], candidate: tuple[Input, ...]) -> list[str]:
    """What of the incumbent's inputs the candidate does not accept, in words; empty when it accepts all.

    A candidate that describes no input at all says nothing about itself: then only requests count.
    """
    if not candidate:
        return []
    theirs = {one.name: one for one in candidate}
    found = []
    for one in incumbent:
        other = theirs.pop(one.name, None)
        if other is None:
            found.append(f"the candidate has no input {one.name!r}")
        elif other.datatype != one.datatype:
            found.append(f"input {one.name!r} is {one.datatype} for the incumbent, {other.datatype} now")
        elif not _admits(other.shape, one.shape):
            found.append(f"input {one.name!r} has the shape {list(one.shape)}, {list(other.shape)} now")
    return found + [f"the candidate asks for a further input {name!r}" for name in theirs]


def _admits(wider: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    return len(wider) == len(shape) and all(
        size < 0 or size == asked for size, asked in zip(wider, shape, strict=True)
    )


def _lost_outputs(incumbent: object, candidate: object) -> list[str]:
    mine, theirs = _outputs(incumbent), _outputs(candidate)
    return [f"the candidate has no output {name!r}" for name in sorted(mine - theirs)] if theirs else []


def _outputs(metadata: object) -> set[str]:
    listed = metadata.get("outputs") if isinstance(metadata, dict) else None
    return {str(one["name"]) for one in listed or () if isinstance(one, dict) and "name" in one}
