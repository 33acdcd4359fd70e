"""Verdicts: how a judgement ends. Four values, and the worst of several wins."""

from __future__ import annotations

import enum
from collections.abc import Iterable


class Verdict(enum.StrEnum):
    """No data is not a pass: only PASS moves a release forward.

    Worst wins: FAIL beats ERROR beats INCONCLUSIVE beats PASS. A known breach outranks a blind spot, and
    a blind spot outranks too little data.

    >>> Verdict.worst([Verdict.PASS, Verdict.INCONCLUSIVE])
    <Verdict.INCONCLUSIVE: 'inconclusive'>
    >>> Verdict.worst([])
    <Verdict.INCONCLUSIVE: 'inconclusive'>
    """

    PASS = "pass"  # noqa: S105 - a verdict, not a password
    INCONCLUSIVE = "inconclusive"
    ERROR = "error"
    FAIL = "fail"

    @property
    def severity(self) -> int:
        """0 for PASS up to 3 for FAIL."""
        return _SEVERITY[self]

    @staticmethod
    def worst(verdicts: Iterable[Verdict]) -> Verdict:
        """The worst of `verdicts`; INCONCLUSIVE when there are none."""
        return max(verdicts, key=_SEVERITY.__getitem__, default=Verdict.INCONCLUSIVE)


_SEVERITY = {Verdict.PASS: 0, Verdict.INCONCLUSIVE: 1, Verdict.ERROR: 2, Verdict.FAIL: 3}
