"""Guards: limits on signals, watched online for as long as the candidate runs.

A guard turns its signal's numbers into evidence (`killswitch.evidence`) and ends as one of four verdicts.
The J guards of an endpoint share its false-alarm rate α: each breaches at e ≥ J/α, so that the chance that
any of them ever breaches while its claim holds is at most α. A breach is latched until `reset`. A PASS takes
a certificate (`killswitch.certification`), unless nothing is certified by configuration. For a PASS of the
whole all guards have to pass, so the chance that a candidate over one limit passes is at most that of one
certificate.

A batch is taken in two steps, so that several processes can share the work. `read` turns pairs into what they
do to the guards and changes nothing but who has voted; `merge` takes what one or several have read as one
batch. Everything that a signal compares with was learned from batches before.

All is pure: pairs and the monotonic time come as arguments, and the state goes out and in as bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from domain.errors import ConfigError
from domain.verdict import Verdict
from killswitch.blocks import Blocks
from killswitch.classes import tallied
from killswitch.clusters import Clustering, Clusters
from killswitch.cohorts import AccuracyGuard, KeptCohorts, LabelledPair
from killswitch.columns import Columns, JudgedPair, Numbers, Whole
from killswitch.counts import ArmCounts
from killswitch.drift import DriftGuard, FeatureReference, KeptDrift
from killswitch.ensemble import Ensemble
from killswitch.evidence import Floats
from killswitch.guard import CountGuard, Guard, KeptGuard
from killswitch.increments import Increments
from killswitch.quantile import LatencyProfile, counted
from killswitch.report import GuardReport, Sight, seen
from killswitch.signals import Learned, signals, unpaired_errors
from killswitch.votes import Votes
from settings.schema import GuardSettings

Key = TypeVar("Key", int, str)

__all__ = ["ArmCounts", "FeatureReference", "GuardReport", "GuardSet", "LabelledPair"]


class GuardSet:
    """The guards of one endpoint, as configured. Not thread-safe: one owner feeds and reads it."""

    def __init__(self, settings: GuardSettings) -> None:
        """Raises ConfigError for a limit that can never be breached, or an impossible rate of errors."""
        for key, rate in (("false_alarm", settings.false_alarm), ("certify", settings.certify)):
            if rate is not None and not 0 < rate < 1:
                raise ConfigError(f"guards.{key}", rate, "more than 0 and less than 1")
        self._settings = settings
        self.reset()

    def reset(self) -> None:
        """Start anew: no evidence, no breach, nobody has voted, nothing learned, no features referred to."""
        settings = self._settings
        self._learned = Learned()
        found = signals(settings, self._learned)
        unpaired = unpaired_errors(settings)
        sharing = len(found) + (unpaired is not None) + (settings.accuracy is not None)
        threshold = max(sharing, 1) / settings.false_alarm
        self._paired = tuple(Guard(signal, threshold, settings.certify) for signal in found)
        self._ensemble = Ensemble(self._paired)
        self._unpaired = None if unpaired is None else CountGuard(unpaired, threshold, settings.certify)
        self._accuracy: AccuracyGuard | None = None
        if settings.accuracy is not None:
            self._accuracy = AccuracyGuard(
                settings.accuracy.drop, threshold, settings.certify, settings.vote_window
            )
        self._drift: DriftGuard | None = None
        self._votes = Votes(settings.vote_window)
        self._blocks = tuple(Blocks(settings.vote_block) for _ in self._paired)
        self._clusters = Clusters()
        self._sight = Sight()
        self._breach: GuardReport | None = None

    @property
    def breach(self) -> GuardReport | None:
        """The first breach, as it stood at that moment; None while there was none."""
        return self._breach

    def observe(self, judged: Sequence[JudgedPair], now: float) -> GuardReport | None:
        """Judge `judged` as one batch per guard, at `now` (seconds on a monotonic clock).

        Answers the first breach, from the batch that crossed the limit on and, latched, ever after; of
        several in the same batch the one with the most evidence. Raises ValueError for a score that is not
        a number.
        """
        return self.merge([self.read(judged, now)])

    def observe_counts(self, incumbent: ArmCounts, candidate: ArmCounts, at: float) -> GuardReport | None:
        """Judge how many requests of each arm failed in a stretch that began at the wall time `at`.

        Without effect where requests reach both arms, and errors are judged by pairs. Raises ValueError for
        counts that cannot be.
        """
        guard = self._unpaired
        increment = None if guard is None else guard.read_counts(incumbent, candidate, at)
        if guard is None or increment is None:
            return self._breach
        return self.merge([Increments(guards={guard.signal.name: increment})])

    def observe_labels(self, labelled: Sequence[LabelledPair]) -> GuardReport | None:
        """Judge pairs whose true answers became known. Without effect where accuracy is not watched."""
        if self._accuracy is None or not labelled:
            return self._breach
        return self.merge([Increments(cohorts=self._accuracy.read(labelled))])

    def refer(self, references: Sequence[FeatureReference]) -> None:
        """Compare the features of requests with these from now on. Without effect where drift is not watched.

        Raises ValueError without features, or with too many.
        """
        settings = self._settings
        if settings.drift is not None:
            self._drift = DriftGuard(
                references, settings.drift.shift, settings.false_alarm, settings.vote_window
            )

    def observe_features(
        self, units: Sequence[int], values: npt.ArrayLike, at: Sequence[float], now: float
    ) -> None:
        """Judge the features of requests, of shape (requests, features), NaN for what is no number.

        Without effect before `refer`. It never breaches. Raises ValueError when there are other features than
        in the reference.
        """
        if self._drift is not None and len(units):
            columns = np.array(values, dtype=np.float64)
            self._drift.add([self._drift.read(units, columns, at, now)])

    def read(self, judged: Sequence[JudgedPair], now: float) -> Increments:
        """What `judged` does to the guards as one batch, or as part of one; see `merge`.

        Notes who has voted at `now`, and changes nothing else. Raises ValueError as `observe` does.
        """
        columns = Columns(judged, self._settings.vote_per)
        numbers = [_read(guard, columns) for guard in self._paired]
        admitted = self._admit(columns, [one.pair for one in numbers], now)
        votes: list[tuple[Numbers, Floats]] = []
        for index, (one, blocks) in enumerate(zip(numbers, self._blocks, strict=True)):
            kept = one if admitted is None else _kept(one, (admitted[one.pair] >> index) & 1 != 0)
            at = columns.at if kept.pair is columns.every else columns.at[kept.pair]
            votes.append(blocks.take(kept, at))
        latencies = columns.latencies[0] if self._settings.latency is not None else np.zeros(0)
        classes: tuple[dict[str, int], dict[str, int]] = ({}, {})
        if self._settings.classes is not None:
            incumbent, candidate, known = columns.labels
            which = np.flatnonzero(known).tolist()
            classes = tallied(candidate[row] for row in which), tallied(incumbent[row] for row in which)
        return Increments(
            self._ensemble.read(votes), {}, seen(judged), counted(latencies[~np.isnan(latencies)]), *classes
        )

    def merge(self, parts: Sequence[Increments]) -> GuardReport | None:
        """Take all `parts` as one batch; answers as `observe`.

        Parts that several processes read against the state before this batch give, to the last bit, the
        evidence and the verdict of one process that saw all of it, provided that pairs of the same unit were
        read by the same one (`killswitch.increments`). Since when a signal rises is estimated as if the parts
        had come one after another.
        """
        for guard in (*self._paired, *(() if self._unpaired is None else (self._unpaired,))):
            name = guard.signal.name
            mine = [part.guards[name] for part in parts if name in part.guards]
            if mine:
                guard.add(mine)
        if self._accuracy is not None:
            self._accuracy.add([part.cohorts for part in parts])
        self._sight.take([part.sight for part in parts])
        self._learned.latencies.learn(_summed([part.latencies for part in parts]))
        self._learned.classes.learn(
            _summed([part.candidate_classes for part in parts]),
            _summed([part.incumbent_classes for part in parts]),
        )
        return self._latched()

    def reports(self, needed: int) -> tuple[GuardReport, ...]:
        """How every guard stands; none passes with fewer than `needed` votes, or without any."""
        hard = tuple(guard.report(needed, self._sight) for guard in self._hard())
        return hard if self._drift is None else (*hard, self._drift.report(needed, self._sight))

    def cohorts(self, needed: int) -> tuple[GuardReport, ...]:
        """How accuracy stands in every cohort, everybody first; none where it is not watched."""
        return () if self._accuracy is None else self._accuracy.cohorts(needed, self._sight)

    def drifts(self) -> dict[str, float]:
        """The total variation of every feature from its reference, so far."""
        return {} if self._drift is None else self._drift.variations()

    def clustering(self) -> Clustering:
        """Whether votes repeat one another, so that the false-alarm rate may not hold."""
        settings = self._settings
        return self._clusters.found(every_pair_votes=not settings.vote_window, block=settings.vote_block)

    def verdict(self, needed: int) -> Verdict:
        """The worst of the guards' verdicts, the soft one included; INCONCLUSIVE when no guard is
        configured."""
        verdicts = [guard.verdict(needed, self._sight) for guard in self._hard()]
        if self._drift is not None:
            verdicts.append(self._drift.verdict(needed, self._sight))
        return Verdict.worst(verdicts)

    def dump(self) -> bytes:
        """The evidence and the breach as JSON, a few kilobytes. Who has voted is not part of it."""
        unpaired = self._unpaired
        return msgspec.json.encode(
            _Kept(
                guards=[guard.keep() for guard in self._paired],
                unpaired=None if unpaired is None else unpaired.keep(),
                accuracy=None if self._accuracy is None else self._accuracy.keep(),
                drift=None if self._drift is None else self._drift.keep(),
                latencies=self._learned.latencies.keep(),
                classes=self._learned.classes.keep(),
                measured=self._sight.measured,
                unmeasured=self._sight.unmeasured,
                fault=self._sight.fault,
                breach=self._breach,
            )
        )

    def load(self, dumped: bytes) -> None:
        """Go on from what `dump` gave.

        Drift goes on only where the same features are referred to; it begins anew else, being soft. Raises
        ValueError, and changes nothing, when `dumped` is of other guards or limits or unreadable.
        """
        try:
            kept = msgspec.json.decode(dumped, type=_Kept)
        except msgspec.DecodeError as error:
            raise ValueError(f"not the state of guards: {error}") from error
        self._refuse_unfit(kept)
        drift = self._drift
        self.reset()
        self._learned.latencies.restore(kept.latencies)
        self._learned.classes.restore(kept.classes)
        for guard, its in zip(self._paired, kept.guards, strict=True):
            guard.restore(its)
        if self._unpaired is not None and kept.unpaired is not None:
            self._unpaired.restore(kept.unpaired)
        if self._accuracy is not None and kept.accuracy is not None:
            self._accuracy.restore(kept.accuracy)
        self._drift = drift
        if drift is not None and kept.drift is not None and drift.fits(kept.drift):
            drift.restore(kept.drift)
        self._sight = Sight(kept.measured, kept.unmeasured, kept.fault)
        self._breach = kept.breach

    def _refuse_unfit(self, kept: _Kept) -> None:
        theirs = [(one.name, one.limit, one.parameter) for one in kept.guards]
        ours = [(one.signal.name, one.signal.limit, one.signal.parameter) for one in self._paired]
        if theirs != ours:
            raise ValueError(f"the state is of other guards: it holds {theirs}, configured are {ours}")
        same = (kept.unpaired is None) == (self._unpaired is None)
        if not same or (kept.accuracy is None) != (self._accuracy is None):
            raise ValueError("the state is of other guards: by counts or by labels")
        if not LatencyProfile.holds(kept.latencies):
            raise ValueError("not the state of guards: it holds latencies in buckets that do not exist")
        for guard, its in zip(self._paired, kept.guards, strict=True):
            guard.refuse_unfit(its)
        if self._unpaired is not None and kept.unpaired is not None:
            self._unpaired.refuse_unfit(kept.unpaired)
        if self._accuracy is not None and kept.accuracy is not None:
            self._accuracy.refuse_unfit(kept.accuracy)

    def _hard(self) -> list[Guard | AccuracyGuard]:
        """The guards that share the false-alarm rate, and trip."""
        found: list[Guard | AccuracyGuard] = [*self._paired]
        if self._unpaired is not None:
            found.append(self._unpaired)
        if self._accuracy is not None:
            found.append(self._accuracy)
        return found

    def _admit(self, columns: Columns, spoken: Sequence[Whole], now: float) -> Whole | None:
        """For each pair the bits of the guards for which it votes; None when they are all that it wants."""
        everybody = sum(1 << index for index, pair in enumerate(spoken) if pair is columns.every)
        bits = np.full(len(columns.pairs), everybody, dtype=np.int64)
        for index, pair in enumerate(spoken):
            if pair is not columns.every:
                bits[pair] |= 1 << index
        wants: list[int] = bits.tolist()
        admitted = self._votes.admit_all(columns.units, wants, now)
        self._note(columns, admitted)
        return None if admitted == wants else np.array(admitted, dtype=np.int64)

    def _note(self, columns: Columns, admitted: Sequence[int]) -> None:
        """Look for votes that repeat one another, in what was compared."""
        votes = [
            one
            for one, granted in zip(columns.judged, admitted, strict=True)
            if granted and one.divergence is not None
        ]
        scores = [one.divergence.score for one in votes if one.divergence is not None]
        self._clusters.take([one.pair.unit for one in votes], scores)

    def _latched(self) -> GuardReport | None:
        crossed = [guard for guard in self._hard() if guard.breaches and guard.breach is None]
        for guard in crossed:
            guard.latch(self._sight)
        if self._breach is None and crossed:
            self._breach = max(crossed, key=lambda guard: guard.log_evidence).breach
        return self._breach


class _Kept(msgspec.Struct, frozen=True):
    guards: list[KeptGuard]
    unpaired: KeptGuard | None
    accuracy: KeptCohorts | None
    drift: KeptDrift | None
    latencies: tuple[int, dict[int, int], dict[int, int]]
    classes: tuple[dict[str, int], dict[str, int]]
    measured: bool
    unmeasured: int
    fault: str
    breach: GuardReport | None


def _summed(parts: Sequence[Mapping[Key, int]]) -> Mapping[Key, int]:
    if len(parts) == 1:
        return parts[0]
    whole: Counter[Key] = Counter()
    for part in parts:
        whole.update(part)
    return whole


def _read(guard: Guard, columns: Columns) -> Numbers:
    read = guard.signal.read
    if read is None:
        raise TypeError(f"guard {guard.signal.name} is not read from pairs")
    return read(columns)


def _kept(numbers: Numbers, which: npt.NDArray[np.bool_]) -> Numbers:
    if np.logical_and.reduce(which):
        return numbers
    certified = numbers.certified
    return Numbers(numbers.x[which], numbers.pair[which], None if certified is None else certified[which])
