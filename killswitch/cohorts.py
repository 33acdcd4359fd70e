"""Accuracy with labels: whether the candidate is right less often, for everybody and in each cohort.

The problem. A candidate may be as good as ever on average and useless in one country. Looking at many cohorts
means many chances of a false alarm.

The idea. Each cohort has evidence of its own against "the candidate is right no less often, but for what is
tolerated": x = ok_i − ok_c of a labelled pair. The cohorts that are named are those that e-BH names: the
largest k for which k cohorts have a weighted e-value w·e of J/(kα) or more, with weights that sum to 1 (½
for everybody, the rest in equal parts). It holds however the cohorts overlap. The guard breaches when it
names any.

The guarantee. k times the k-th largest w·e is at most Σ w·e, which is evidence itself; so the chance of ever
naming any cohort, while none is over the limit, is at most α/J. When some are, the expected share of innocent
ones among the named is at most α/J, too.

Cohorts are admitted in their order of appearance; what comes after the last of MOST_COHORTS is judged
together, as `other`. A certificate speaks for everybody together, not for each cohort.

Source. Wang & Ramdas, "False discovery rate control with e-values", JRSS B 2022.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import msgspec
import numpy as np

from domain.verdict import Verdict
from killswitch import sentences
from killswitch.guard import MOST_EVIDENCE, Guard, GuardReport, KeptGuard, Sight
from killswitch.increments import GuardIncrement
from killswitch.signals import ACCURACY, Signal, check
from killswitch.votes import Votes

EVERYBODY = ""
OTHER = "other"
MOST_COHORTS = 64
"""Cohorts besides everybody, `other` included."""

_WEIGHT = 0.5 / MOST_COHORTS


class LabelledPair(NamedTuple):
    """A pair whose true answer became known.

    `unit` as in Pair; `cohorts` are names such as `header:x-country=NZ`; `rows` says of each row whether the
    incumbent was right, and whether the candidate was; `at` is when the pair began.
    """

    unit: int
    cohorts: tuple[str, ...]
    rows: tuple[tuple[bool, bool], ...]
    at: float


class KeptCohorts(msgspec.Struct, frozen=True):
    """What survives a restart: every cohort's guard, in the order of their admission."""

    guards: dict[str, KeptGuard]
    breach: GuardReport | None


class AccuracyGuard:
    """One guard over all cohorts. It has the face of a Guard, but is fed with labels."""

    def __init__(
        self, drop: float, threshold: float, certify: float | None, window: float, per: str = "unit"
    ) -> None:
        """`threshold` is J/α, `window` the seconds in which a unit has one vote in each cohort, `per` the
        vote rule (`killswitch.columns`).

        Raises ConfigError for a drop that nothing can breach.
        """
        self.signal = check(Signal(ACCURACY, drop, -1.0, 1.0, needs="labels"))
        self.threshold = threshold
        self.breach: GuardReport | None = None
        self._certify = certify
        self._window = window
        self._per = per
        self._votes = Votes(math.inf)
        self._guards: dict[str, Guard] = {}
        self._admit(EVERYBODY)

    @property
    def everybody(self) -> Guard:
        return self._guards[EVERYBODY]

    @property
    def log_evidence(self) -> float:
        """ln of the largest k·(w·e)_(k): over ln(J/α) e-BH names a cohort."""
        return max(_ranked(self._weighted().values()))

    @property
    def breaches(self) -> bool:
        """Whether e-BH names a cohort now."""
        return self.log_evidence >= math.log(self.threshold)

    def read(self, labelled: Sequence[LabelledPair]) -> dict[str, GuardIncrement]:
        """What a batch of labels will do, by cohort. It notes who has voted.

        A unit has one vote in each stretch of `window` seconds, by when its pairs began, since labels come
        late and in any order. Every row of a batch counts, whatever the vote rule.
        """
        numbers: dict[str, list[float]] = {EVERYBODY: []}
        at: dict[str, list[float]] = {EVERYBODY: []}
        room = MOST_COHORTS - 1 - len(self._guards.keys() - {EVERYBODY, OTHER})
        for one in labelled:
            if not self._counts(one):
                continue
            votes = self._spoken(one)
            names = dict.fromkeys((EVERYBODY, *one.cohorts))
            for name in tuple(names):
                if name in numbers or name in self._guards:
                    continue
                if room > 0 and len(name) <= 200 and name != OTHER:
                    room -= 1
                else:
                    del names[name]
                    names[OTHER] = None
            for name in names:
                numbers.setdefault(name, []).extend(votes)
                at.setdefault(name, []).extend([one.at] * len(votes))
        everybody = self.everybody
        return {name: everybody.read(x, at[name]) for name, x in numbers.items() if x}

    def add(self, parts: Sequence[Mapping[str, GuardIncrement]]) -> None:
        """Several parts of one batch. New cohorts are admitted in order of their names.

        What would be one cohort too many is counted for everybody, and for no cohort.
        """
        for name in sorted({name for part in parts for name in part}):
            if name in self._guards or name == OTHER or len(self._guards.keys() - {OTHER}) < MOST_COHORTS:
                self._admit(name).add([part[name] for part in parts if name in part])

    def remember(self, earlier: AccuracyGuard) -> None:
        """Who has voted with `earlier` has voted."""
        self._votes = earlier._votes

    def verdict(self, needed: int, sight: Sight) -> Verdict:
        """FAIL once breached; PASS when it is certified for everybody and no evidence speaks against it."""
        if self.breach is not None:
            return Verdict.FAIL
        return Verdict.INCONCLUSIVE if self.log_evidence > 0 else self.everybody.verdict(needed, sight)

    def report(self, needed: int, sight: Sight) -> GuardReport:
        """The breach as it stood, else the cohort with the most evidence; while there is none, everybody."""
        if self.breach is not None:
            return self.breach
        name = self._leading() if self.log_evidence > 0 else EVERYBODY
        return self._told(name, needed, sight, self.verdict(needed, sight))

    def latch(self, sight: Sight) -> None:
        """Keep the breach as it stands now."""
        self.breach = self._told(self._leading(), 0, sight, Verdict.FAIL)

    def cohorts(self, needed: int, sight: Sight) -> tuple[GuardReport, ...]:
        """How each cohort stands by itself, everybody first; each verdict is about that cohort alone.

        FAIL is said of those that e-BH names.
        """
        named = self._named()
        return tuple(
            replace(
                guard.report(needed, sight),
                cohort=name,
                verdict=Verdict.FAIL if name in named else guard.verdict(needed, sight),
            )
            for name, guard in self._guards.items()
        )

    def keep(self) -> KeptCohorts:
        """Everything `restore` needs to go on."""
        return KeptCohorts({name: guard.keep() for name, guard in self._guards.items()}, self.breach)

    def refuse_unfit(self, kept: KeptCohorts) -> None:
        """Raises ValueError unless `kept` is of this very guard."""
        if EVERYBODY not in kept.guards or len(kept.guards) > MOST_COHORTS + 1:
            raise ValueError("the state of guards holds no accuracy, or too many cohorts")
        for one in kept.guards.values():
            self.everybody.refuse_unfit(one)

    def restore(self, kept: KeptCohorts) -> None:
        """Go on from `kept`, which fits."""
        self._guards = {}
        for name, one in kept.guards.items():
            self._admit(name).restore(one)
        self.breach = kept.breach

    def _spoken(self, one: LabelledPair) -> list[float]:
        """A batch votes with the mean of its rows, or each of them votes: as the vote rule says."""
        x = [float(incumbent) - float(candidate) for incumbent, candidate in one.rows]
        if self._per == "row" or (self._per == "unit" and not one.unit):
            return x
        return [sum(x) / len(x)] if x else []

    def _counts(self, one: LabelledPair) -> bool:
        if not one.unit or not self._window:
            return True
        stretch = hash((one.unit, int(one.at // self._window))) or 1
        return bool(self._votes.admit(stretch, 0.0))

    def _admit(self, name: str) -> Guard:
        if name not in self._guards:
            self._guards[name] = Guard(self.signal, self.threshold, self._certify)
        return self._guards[name]

    def _weighted(self) -> dict[str, float]:
        """ln(w·e) of each cohort."""
        return {
            name: guard.log_evidence + math.log(0.5 if name == EVERYBODY else _WEIGHT)
            for name, guard in self._guards.items()
        }

    def _leading(self) -> str:
        weighted = self._weighted()
        return max(weighted, key=weighted.__getitem__)

    def _named(self) -> list[str]:
        """What e-BH names, by evidence."""
        weighted = self._weighted()
        order = sorted(weighted, key=weighted.__getitem__, reverse=True)
        above = [
            rank for rank, e in enumerate(_ranked(weighted.values()), 1) if e >= math.log(self.threshold)
        ]
        return order[: above[-1]] if above else []

    def _told(self, name: str, needed: int, sight: Sight, verdict: Verdict) -> GuardReport:
        evidence = math.exp(min(self.log_evidence, math.log(MOST_EVIDENCE)))
        report = self._guards[name].report(needed, sight)
        words = report.sentence
        others = [one for one in self._named() if one != name]
        if verdict is Verdict.FAIL:
            words = f"{sentences.finding(self.signal, report.estimate)}: {sentences.odds(evidence)}"
        where = f"in {name}: " if name else ""
        also = f"; also in {', '.join(one or 'all' for one in others[:5])}" if others else ""
        return replace(
            report, verdict=verdict, evidence=evidence, threshold=self.threshold, cohort=name,
            sentence=f"{where}{words}{also}", certified=self.everybody.certified,
            pairs_needed=self.everybody.pairs_needed(needed),
        )  # fmt: skip


def _ranked(weighted: Iterable[float]) -> list[float]:
    """ln of k·(w·e)_(k) for k = 1, 2, …"""
    order = np.sort(np.array(list(weighted)))[::-1]
    ranked: list[float] = (order + np.log(np.arange(1, len(order) + 1))).tolist()
    return ranked
