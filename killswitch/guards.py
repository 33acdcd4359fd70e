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
from killswitch.cohorts import LabelledPair
from killswitch.columns import Columns, JudgedPair, Numbers, Whole
from killswitch.counts import ArmCounts
from killswitch.ensemble import Ensemble
from killswitch.evidence import Floats
from killswitch.guard import Guard
from killswitch.increments import Increments
from killswitch.members import Kept, Members
from killswitch.quantile import counted
from killswitch.references import FeatureReference, Request
from killswitch.report import GuardReport, seen
from killswitch.votes import Votes
from settings.schema import GuardSettings

Key = TypeVar("Key", int, str)

__all__ = ["ArmCounts", "FeatureReference", "GuardReport", "GuardSet", "LabelledPair", "Request"]


class GuardSet:
    """The guards of one endpoint, as configured. Not thread-safe: one owner feeds and reads it."""

    def __init__(self, settings: GuardSettings, references: Sequence[FeatureReference] = ()) -> None:
        """`references`: what the features of requests are compared with; none: they are learned.

        Raises ConfigError for a limit that can never be breached, or an impossible rate of errors; ValueError
        for references that cannot be.
        """
        for key, rate in (("false_alarm", settings.false_alarm), ("certify", settings.certify)):
            if rate is not None and not 0 < rate < 1:
                raise ConfigError(f"guards.{key}", rate, "more than 0 and less than 1")
        self._settings = settings
        self._references = tuple(references)
        self.reset()

    def reset(self) -> None:
        """Start anew: no evidence, no breach, nobody has voted, nothing learned."""
        settings = self._settings
        self._members = Members(settings)
        self._ensemble = Ensemble(self._members.paired)
        self._votes = Votes(settings.vote_window)
        self._blocks = tuple(Blocks(settings.vote_block) for _ in self._members.paired)
        self._clusters = Clusters()
        if self._references:
            self.refer(self._references)

    @property
    def breach(self) -> GuardReport | None:
        """The first breach, as it stood at that moment; None while there was none."""
        return self._members.breach

    @property
    def features(self) -> tuple[str, ...] | None:
        """The features of requests that are watched for drift; None for all, while they are being learned."""
        drift = self._members.drift
        return () if drift is None else drift.names

    def observe(
        self, judged: Sequence[JudgedPair], now: float, requests: Sequence[Request] = ()
    ) -> GuardReport | None:
        """Judge `judged` as one batch per guard, at `now` (seconds on a monotonic clock), and the features of
        `requests`.

        Answers the first breach, from the batch that crossed the limit on and, latched, ever after; of
        several in the same batch the one with the most evidence. Raises ValueError for a score that is not
        a number.
        """
        return self.merge([self.read(judged, now, requests)])

    def observe_counts(self, incumbent: ArmCounts, candidate: ArmCounts, at: float) -> GuardReport | None:
        """Judge how many requests of each arm failed in a stretch that began at the wall time `at`.

        Without effect where requests reach both arms, and errors are judged by pairs. Raises ValueError for
        counts that cannot be.
        """
        return self.merge([self.read_counts(incumbent, candidate, at)])

    def read_counts(self, incumbent: ArmCounts, candidate: ArmCounts, at: float) -> Increments:
        """What the counts of a stretch do to the guards, see `observe_counts` and `merge`."""
        guard = self._members.unpaired
        increment = None if guard is None else guard.read_counts(incumbent, candidate, at)
        if guard is None or increment is None:
            return Increments()
        return Increments(guards={guard.signal.name: increment})

    def observe_labels(self, labelled: Sequence[LabelledPair]) -> GuardReport | None:
        """Judge pairs whose true answers became known. Without effect where accuracy is not watched."""
        return self.merge([self.read_labels(labelled)])

    def read_labels(self, labelled: Sequence[LabelledPair]) -> Increments:
        """What labels do to the guards, see `observe_labels` and `merge`. It notes who has voted."""
        accuracy = self._members.accuracy
        if accuracy is None or not labelled:
            return Increments()
        return Increments(cohorts=accuracy.read(labelled))

    def refer(self, references: Sequence[FeatureReference]) -> None:
        """Compare the features of requests with these from now on. Without effect where drift is not watched.

        Raises ValueError without features, or with too many.
        """
        self._references = tuple(references)
        if self._members.drift is not None:
            self._members.drift.refer(self._references)

    def observe_requests(self, requests: Sequence[Request], now: float) -> None:
        """Judge the features of `requests` alone. It never breaches."""
        drift = self._members.drift
        if drift is not None:
            votes, profile = drift.read(requests, now)
            self.merge([Increments(drift=votes, profile=profile)])

    def read(self, judged: Sequence[JudgedPair], now: float, requests: Sequence[Request] = ()) -> Increments:
        """What `judged` does to the guards as one batch, or as part of one; see `merge`.

        Notes who has voted at `now`, and changes nothing else. Raises ValueError as `observe` does.
        """
        columns = Columns(judged, self._settings.vote_per)
        numbers = [_read(guard, columns) for guard in self._members.paired]
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
        drift = self._members.drift
        features = ({}, ()) if drift is None or not requests else drift.read(requests, now)
        return Increments(
            self._ensemble.read(votes), {}, seen(judged), counted(latencies[~np.isnan(latencies)]), *classes,
            *features,
        )  # fmt: skip

    def merge(self, parts: Sequence[Increments]) -> GuardReport | None:
        """Take all `parts` as one batch; answers as `observe`.

        Parts that several processes read against the state before this batch give, to the last bit, the
        evidence and the verdict of one process that saw all of it, provided that pairs of the same unit were
        read by the same one (`killswitch.increments`). Since when a signal rises is estimated as if the parts
        had come one after another.
        """
        members = self._members
        for guard in (*members.paired, *(() if members.unpaired is None else (members.unpaired,))):
            name = guard.signal.name
            mine = [part.guards[name] for part in parts if name in part.guards]
            if mine:
                guard.add(mine)
        if members.accuracy is not None:
            members.accuracy.add([part.cohorts for part in parts])
        if members.drift is not None:
            members.drift.add([part.drift for part in parts], [row for part in parts for row in part.profile])
        members.sight.take([part.sight for part in parts])
        members.learned.latencies.learn(_summed([part.latencies for part in parts]))
        members.learned.classes.learn(
            _summed([part.candidate_classes for part in parts]),
            _summed([part.incumbent_classes for part in parts]),
        )
        return members.latched()

    def reports(self, needed: int) -> tuple[GuardReport, ...]:
        """How every guard stands; none passes with fewer than `needed` votes, or without any."""
        members = self._members
        hard = tuple(guard.report(needed, members.sight) for guard in members.hard)
        return hard if members.drift is None else (*hard, members.drift.report(needed, members.sight))

    def cohorts(self, needed: int) -> tuple[GuardReport, ...]:
        """How accuracy stands in every cohort, everybody first; none where it is not watched."""
        accuracy = self._members.accuracy
        return () if accuracy is None else accuracy.cohorts(needed, self._members.sight)

    def drifts(self) -> dict[str, float]:
        """The total variation of every feature from its reference, so far."""
        return {} if self._members.drift is None else self._members.drift.variations()

    def clustering(self) -> Clustering:
        """Whether votes repeat one another, so that the false-alarm rate may not hold."""
        settings = self._settings
        return self._clusters.found(every_pair_votes=not settings.vote_window, block=settings.vote_block)

    def verdict(self, needed: int) -> Verdict:
        """The worst of the guards' verdicts, the soft one included; INCONCLUSIVE when no guard is
        configured."""
        members = self._members
        verdicts = [guard.verdict(needed, members.sight) for guard in members.hard]
        if members.drift is not None:
            verdicts.append(members.drift.verdict(needed, members.sight))
        return Verdict.worst(verdicts)

    def dump(self) -> bytes:
        """The evidence and the breach as JSON, a few kilobytes. Who has voted is not part of it."""
        return msgspec.json.encode(self._members.keep())

    def load(self, dumped: bytes) -> None:
        """Go on from what `dump` gave.

        Drift goes on only where it is compared with the same; it begins anew else, being soft. Raises
        ValueError, and changes nothing, when `dumped` is of other guards or limits or unreadable.
        """
        try:
            kept = msgspec.json.decode(dumped, type=Kept)
        except msgspec.DecodeError as error:
            raise ValueError(f"not the state of guards: {error}") from error
        self._members.refuse_unfit(kept)
        self.reset()
        self._members.restore(kept)

    def adopt(self, dumped: bytes) -> None:
        """As `load`, of evidence that others share with this process: who has voted here has voted."""
        votes, blocks, clusters, accuracy = self._votes, self._blocks, self._clusters, self._members.accuracy
        self.load(dumped)
        self._votes, self._blocks, self._clusters = votes, blocks, clusters
        if accuracy is not None and self._members.accuracy is not None:
            self._members.accuracy.remember(accuracy)

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
