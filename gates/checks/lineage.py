"""The lineage gate: whether it is known what the candidate was made of.

A version whose data, code and settings nobody can name cannot be made again, nor be answered for. What is not
known fails, and so does a version of which the registries have no record; a registry that cannot be asked, or
none at all, is an ERROR.
"""

from __future__ import annotations

from domain.errors import ConfigError, GateError, LineageUnknown, StateUnavailable
from domain.lineage import missing
from domain.verdict import Verdict
from gates.gate import GateContext
from gates.result import Judgement
from settings.criteria import LineageGate


class LineageComplete:
    """The fields that must be known of the candidate."""

    name = "lineage"

    def __init__(self, settings: LineageGate) -> None:
        self._settings = settings

    async def run(self, context: GateContext) -> Judgement:
        """See `gates.gate.Gate`."""
        version, required = context.candidate.version.name, self._settings.require
        references = context.endpoint.candidate_lineage
        if not references:
            where = f"endpoints.{context.endpoint.name}.candidate.lineage"
            raise GateError(f"nothing says where the lineage of {version} stands: give {where}")
        record, reason = None, ""
        try:
            record = await context.lineage(references)
        except LineageUnknown as error:
            reason = f" ({error})"
        except (StateUnavailable, ConfigError) as error:
            raise GateError(f"the lineage of {version} cannot be asked for: {error}") from error
        unknown = missing(record, required)
        numbers = {"required": float(len(required)), "missing": float(len(unknown))}
        if unknown:
            return Judgement(
                Verdict.FAIL, f"of {version} is not known: {', '.join(unknown)}{reason}", numbers
            )
        return Judgement(Verdict.PASS, f"of {version} is known: {', '.join(required)}", numbers)
