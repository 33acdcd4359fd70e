"""The guards that an endpoint's settings ask for, what they compare with, and how all of it is kept."""

from __future__ import annotations

import msgspec

from killswitch.cohorts import AccuracyGuard, KeptCohorts
from killswitch.feature_watch import FeatureWatch, KeptWatch
from killswitch.guard import CountGuard, Guard, KeptGuard
from killswitch.quantile import LatencyProfile
from killswitch.report import GuardReport, Sight
from killswitch.signals import Learned, signals, unpaired_errors
from settings.schema import GuardSettings


class Kept(msgspec.Struct, frozen=True):
    """What survives a restart."""

    guards: list[KeptGuard]
    unpaired: KeptGuard | None
    accuracy: KeptCohorts | None
    latencies: tuple[int, dict[int, int], dict[int, int]]
    classes: tuple[dict[str, int], dict[str, int]]
    measured: bool
    unmeasured: int
    fault: str
    breach: GuardReport | None
    watch: KeptWatch | None = None


class Members:
    """The guards of one endpoint, without any evidence yet.

    Attributes:
        paired: those that are read from pairs, in a fixed order.
        unpaired: errors by counts, where no request reaches both arms.
        accuracy: with labels.
        drift: the soft one.
        learned: what signals compare with.
        sight: whether predictions can be compared.
        breach: the first breach, as it stood at that moment.
    """

    def __init__(self, settings: GuardSettings) -> None:
        """Raises ConfigError for a limit that can never be breached."""
        self.learned = Learned()
        found = signals(settings, self.learned)
        unpaired = unpaired_errors(settings)
        sharing = len(found) + (unpaired is not None) + (settings.accuracy is not None)
        threshold = max(sharing, 1) / settings.false_alarm
        self.paired = tuple(Guard(signal, threshold, settings.certify) for signal in found)
        self.unpaired = None if unpaired is None else CountGuard(unpaired, threshold, settings.certify)
        self.accuracy: AccuracyGuard | None = None
        if settings.accuracy is not None:
            self.accuracy = AccuracyGuard(
                settings.accuracy.drop, threshold, settings.certify, settings.vote_window, settings.vote_per
            )
        self.drift = None if settings.drift is None else FeatureWatch(settings)
        self.sight = Sight()
        self.breach: GuardReport | None = None

    @property
    def hard(self) -> list[Guard | AccuracyGuard]:
        """The guards that share the false-alarm rate, and trip."""
        found: list[Guard | AccuracyGuard] = [*self.paired]
        if self.unpaired is not None:
            found.append(self.unpaired)
        if self.accuracy is not None:
            found.append(self.accuracy)
        return found

    def latched(self) -> GuardReport | None:
        """Keep what breaches now; the first breach of all, of several at once the one with most evidence."""
        crossed = [guard for guard in self.hard if guard.breaches and guard.breach is None]
        for guard in crossed:
            guard.latch(self.sight)
        if self.breach is None and crossed:
            self.breach = max(crossed, key=lambda guard: guard.log_evidence).breach
        return self.breach

    def keep(self) -> Kept:
        """Everything `restore` needs to go on."""
        return Kept(
            guards=[guard.keep() for guard in self.paired],
            unpaired=None if self.unpaired is None else self.unpaired.keep(),
            accuracy=None if self.accuracy is None else self.accuracy.keep(),
            latencies=self.learned.latencies.keep(),
            classes=self.learned.classes.keep(),
            measured=self.sight.measured,
            unmeasured=self.sight.unmeasured,
            fault=self.sight.fault,
            breach=self.breach,
            watch=None if self.drift is None else self.drift.keep(),
        )

    def refuse_unfit(self, kept: Kept) -> None:
        """Raises ValueError unless `kept` is of these very guards. Drift, being soft, begins anew instead."""
        theirs = [(one.name, one.limit, one.parameter) for one in kept.guards]
        ours = [(one.signal.name, one.signal.limit, one.signal.parameter) for one in self.paired]
        if theirs != ours:
            raise ValueError(f"the state is of other guards: it holds {theirs}, configured are {ours}")
        same = (kept.unpaired is None) == (self.unpaired is None)
        if not same or (kept.accuracy is None) != (self.accuracy is None):
            raise ValueError("the state is of other guards: by counts or by labels")
        if not LatencyProfile.holds(kept.latencies):
            raise ValueError("not the state of guards: it holds latencies in buckets that do not exist")
        for guard, its in zip(self.paired, kept.guards, strict=True):
            guard.refuse_unfit(its)
        if self.unpaired is not None and kept.unpaired is not None:
            self.unpaired.refuse_unfit(kept.unpaired)
        if self.accuracy is not None and kept.accuracy is not None:
            self.accuracy.refuse_unfit(kept.accuracy)

    def restore(self, kept: Kept) -> None:
        """Go on from `kept`, which fits."""
        self.learned.latencies.restore(kept.latencies)
        self.learned.classes.restore(kept.classes)
        for guard, its in zip(self.paired, kept.guards, strict=True):
            guard.restore(its)
        if self.unpaired is not None and kept.unpaired is not None:
            self.unpaired.restore(kept.unpaired)
        if self.accuracy is not None and kept.accuracy is not None:
            self.accuracy.restore(kept.accuracy)
        if self.drift is not None and kept.watch is not None:
            self.drift.restore(kept.watch)
        self.sight = Sight(kept.measured, kept.unmeasured, kept.fault)
        self.breach = kept.breach
