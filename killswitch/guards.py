"""Guards: limits on signals, watched online for as long as the candidate runs.

A guard turns its signal's numbers into evidence (`killswitch.evidence`) and ends as one of four verdicts.
The J guards of an endpoint share its false-alarm rate α: each breaches at e ≥ J/α, so that the chance that
any of them ever breaches while its claim holds is at most α. A breach is latched until `reset`.

All is pure: pairs and the monotonic time come as arguments, and the state goes out and in as bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from domain.errors import ConfigError
from domain.verdict import Verdict
from killswitch.guard import Guard, GuardReport, KeptGuard, Sight
from killswitch.signals import JudgedPair, latency, signals
from killswitch.votes import Votes
from settings.schema import GuardSettings

__all__ = ["GuardReport", "GuardSet"]


class GuardSet:
    """The guards of one endpoint, as configured. Not thread-safe: one owner feeds and reads it."""

    def __init__(self, settings: GuardSettings) -> None:
        """Raises ConfigError for a limit that can never be breached, or an impossible false-alarm rate."""
        if not 0 < settings.false_alarm < 1:
            raise ConfigError("guards.false_alarm", settings.false_alarm, "more than 0 and less than 1")
        self._settings = settings
        self.reset()

    def reset(self) -> None:
        """Start anew: no evidence, no breach, nobody has voted, no latencies known."""
        settings = self._settings
        found = signals(settings)
        threshold = max(len(found), 1) / settings.false_alarm
        self._guards = tuple(Guard(signal, threshold) for signal in found)
        self._quantiles = tuple(signal.quantile for signal in found if signal.quantile is not None)
        self._votes = Votes(settings.vote_window)
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
        votes: list[tuple[list[float], list[float]]] = [([], []) for _ in self._guards]
        readers = [(guard.signal.read, x, at) for guard, (x, at) in zip(self._guards, votes, strict=True)]
        for one in judged:
            pair = one.pair
            self._sight.note(one)
            if self._votes.has_vote(pair.unit, now):
                speaks = False
                for read, x, at in readers:
                    value = read(one)
                    if value is not None:
                        x.append(value)
                        at.append(pair.at)
                        speaks = True
                if speaks:
                    self._votes.cast(pair.unit, now)
            if self._quantiles:
                seconds = latency(pair.incumbent)
                if seconds is not None:
                    for quantile in self._quantiles:
                        quantile.learn(seconds)
        for guard, (x, at) in zip(self._guards, votes, strict=True):
            if x:
                guard.take(x, at)
        return self._latched()

    def reports(self, needed: int) -> tuple[GuardReport, ...]:
        """How every guard stands; none passes with fewer than `needed` votes, or without any."""
        return tuple(guard.report(needed, self._sight) for guard in self._guards)

    def verdict(self, needed: int) -> Verdict:
        """The worst of the guards' verdicts; INCONCLUSIVE when no guard is configured."""
        return Verdict.worst(guard.verdict(needed, self._sight) for guard in self._guards)

    def dump(self) -> bytes:
        """The evidence and the breach as JSON, a few kilobytes. Who has voted is not part of it."""
        return msgspec.json.encode(
            _Kept(
                guards=[guard.keep() for guard in self._guards],
                measured=self._sight.measured,
                unmeasured=self._sight.unmeasured,
                fault=self._sight.fault,
                breach=self._breach,
            )
        )

    def load(self, dumped: bytes) -> None:
        """Go on from what `dump` gave.

        Raises ValueError, and changes nothing, when `dumped` is of other guards or limits or unreadable.
        """
        try:
            kept = msgspec.json.decode(dumped, type=_Kept)
        except msgspec.DecodeError as error:
            raise ValueError(f"not the state of guards: {error}") from error
        theirs = [(guard.name, guard.limit, guard.parameter) for guard in kept.guards]
        ours = [(guard.signal.name, guard.signal.limit, guard.signal.parameter) for guard in self._guards]
        if theirs != ours:
            raise ValueError(f"the state is of other guards: it holds {theirs}, configured are {ours}")
        for guard, its in zip(self._guards, kept.guards, strict=True):
            if len(its.log_wealth) != guard.detector.bets:
                raise ValueError(f"guard {its.name}: {len(its.log_wealth)} bets, not {guard.detector.bets}")
            if not its.rises.fits(guard.detector.bets):
                raise ValueError(f"guard {its.name}: its rises are not of {guard.detector.bets} bets")
        self.reset()
        for guard, its in zip(self._guards, kept.guards, strict=True):
            guard.restore(its)
        self._sight = Sight(kept.measured, kept.unmeasured, kept.fault)
        self._breach = kept.breach

    def _latched(self) -> GuardReport | None:
        crossed = [guard for guard in self._guards if guard.breaches and guard.breach is None]
        for guard in crossed:
            guard.latch(self._sight)
        if self._breach is None and crossed:
            self._breach = max(crossed, key=lambda guard: guard.log_evidence).breach
        return self._breach


class _Kept(msgspec.Struct, frozen=True):
    guards: list[KeptGuard]
    measured: bool
    unmeasured: int
    fault: str
    breach: GuardReport | None
