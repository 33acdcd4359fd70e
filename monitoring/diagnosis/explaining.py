"""Diagnosis: of a signal that has moved, what changed before it, ordered by how well that explains it.

What is asked for is the place of the fault, not its proof: an operator who looks at the first three lines
should have it among them, and should see why it stands there. So each explanation has a score in [0, 1] that
is a product of factors which are told with it:

    fit         how much of what the best step explains a step at this change's own instant does; half of it
                is for lying where the best step may lie (`monitoring.diagnosis.points`): it falls with the
                requests between them, whatever the clock says
    timing      what is left of the odds that it lies so near by accident, with p the chance that some change
                which could act upon the signal does: 1 / (−e p ln p) to 1 at most for a connection, so that
                a change that is one of many, or far away, gets one half; 1 where `explained` was measured
    explained   the part of the change that is due to it, where that can be measured: requests with other
                features, or answered by other versions (`monitoring.diagnosis.shifts`)
    mechanism   whether it can act upon this signal: what leaves every answer as it was makes none wrong

What was recorded (configuration, versions, lineage, stages) comes with its instant. What was measured comes
from the log: features and labels that moved, a version that answers otherwise under its old name, servers
that stopped answering, a concept that drifted. Of these the last three are what is left when nothing else
explains the change: their score is multiplied by what the best of the others leaves.

Nothing is explained where nothing has changed, and a change that nothing explains is told as such.

Compare Budhathoki, Janzing, Bloebaum & Ng, "Why did the distribution change?", AISTATS 2021: a change of a
distribution is attributed to the mechanisms that changed. Here these are the three axes, and what is measured
of each is what a gateway can see. The odds: Sellke, Bayarri & Berger, "Calibration of p values", The American
Statistician 2001.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

from monitoring.diagnosis import points
from monitoring.diagnosis.changes import TOLD, Axis, Change, Diagnosis, Explanation, Level, Signal
from monitoring.diagnosis.moved import LABEL, Moved, Surroundings, Window, surroundings
from monitoring.diagnosis.points import ChangePoint
from monitoring.diagnosis.signals import Request, Series, series

MOST_TOLD = 12
HARDLY = 0.1
"""The factor of what cannot act upon a signal, as far as is known."""

WITHIN = 0.7
"""The least that a feature which moved with the signal is given as `explained`: features that are measured
otherwise act within their cells as well."""

SLACK = 2.0
"""Seconds between two clocks of one host: a cause that was recorded after its effect is none."""

UNSEEN = frozenset({0, 502, 503, 504})
"""Statuses of a server that did not answer."""


def diagnose(
    requests: Sequence[Request],
    changes: Sequence[Change],
    signal: Signal,
    at: float | None = None,
    *,
    limit: float | None = None,
    scale: float | None = None,
    cohorts: Sequence[str] = (),
    complete: bool = True,
) -> Diagnosis:
    """What changed `signal`, near `at` (seconds since the epoch) or where it changed most, and why.

    `requests` and `changes` are in the order of time. `limit`: only a rise counts, and where the requests are
    `complete`, no stretch of more, a signal that lies above it from its first request on has changed there.
    `scale`: see `signals.series`.
    """
    several = series(signal, requests, scale)
    if not several:
        return Diagnosis(signal, notes=(f"the log has nothing to read {signal.value} off",))
    found = _nearest(several, at, rises=limit is not None)
    if found is not None:
        one, point = found
        return _explained(requests, changes, signal, one, point, cohorts)
    splits = [points.split(one.values, 0, one.together) for one in several]
    p = min((told.p for told in splits if told is not None), default=1.0)
    whole = several[0]
    if complete and limit is not None and points.above(whole.values, limit) <= points.CERTAIN:
        return _from_the_start(requests, changes, signal, whole, limit)
    return Diagnosis(signal, p=min(1.0, p * len(several)), notes=(_quiet(signal, whole),))


def strongest(requests: Sequence[Request], scale: float | None = None) -> Signal | None:
    """The signal of answers that changed most certainly; None when none did."""
    found: list[tuple[float, Signal]] = []
    looked = (Signal.DIVERGENCE, Signal.ERRORS, Signal.ACCURACY, Signal.CONFIDENCE, Signal.LATENCY)
    for signal in looked:
        for one in series(signal, requests, scale):
            point = points.split(one.values, 0, one.together)
            if point is not None and point.p * len(looked) <= points.CERTAIN:
                found.append((-point.gain, signal))
    return min(found)[1] if found else None


def _nearest(several: Sequence[Series], at: float | None, rises: bool) -> tuple[Series, ChangePoint] | None:
    certain = points.CERTAIN / len(several)
    found: list[tuple[float, Series, ChangePoint]] = []
    for one in several:
        for point in points.changes(one.values, certain, one.together):
            mean = one.values[point.start : point.place].mean()
            rose = one.values[point.place : point.end].mean() > mean
            if rises and not rose:
                continue
            away = -point.gain if at is None else abs(float(one.at[point.place]) - at)
            found.append((away, one, point._replace(p=min(1.0, point.p * len(several)))))
    if not found:
        return None
    _, one, point = min(found, key=lambda told: (told[0], -told[2].gain))
    return one, point


def _explained(
    requests: Sequence[Request],
    changes: Sequence[Change],
    signal: Signal,
    one: Series,
    point: ChangePoint,
    cohorts: Sequence[str],
) -> Diagnosis:
    window = Window(one, point.start, point.place, point.end, float(one.at[point.place]))
    around = surroundings(requests, window, cohorts)
    low, high = float(one.at[point.low - 1]), float(one.at[point.high])
    span = min(requests[0].at, *(change.at for change in changes)) if changes else requests[0].at
    timing = _Timing(changes, signal, low, high, (span, requests[-1].at))
    ranked = [_of_change(change, signal, around, window.fit(change.at), timing) for change in changes]
    features = [_feature(name, moved, signal) for name, moved in around.columns.items()]
    ranked += features if signal is not Signal.DRIFT else []
    rest = 1.0 - max((found.score for found in ranked), default=0.0)
    if signal is Signal.DRIFT:
        ranked += [_weighed(found, rest) for found in features]
    ranked += _left(requests, signal, window, around, rest)
    return Diagnosis(
        signal, one.subject, window.at, low, high, point.p,
        _level(one, point.start, point.place), _level(one, point.place, point.end),
        _best(ranked), around.concentrations,
        tuple(_moved_sentence(name, moved) for name, moved in around.columns.items()),
        _notes(around, requests),
    )  # fmt: skip


def _from_the_start(
    requests: Sequence[Request], changes: Sequence[Change], signal: Signal, one: Series, limit: float
) -> Diagnosis:
    """The signal was high from its first request on: what began then is what it is compared with."""
    at = float(one.at[0])
    seen = Surroundings(fresh=tuple(sorted(set(one.versions))), by_version=1.0)
    earlier = max((request.at for request in requests if request.at < at), default=at)
    timing = _Timing(changes, signal, earlier, at, (float(requests[0].at), float(requests[-1].at)))
    ranked = [_of_change(change, signal, seen, 1.0, timing) for change in changes]
    note = f"{signal.value} lies above {limit:g} from the first request of {' and '.join(seen.fresh)} on"
    return Diagnosis(
        signal, one.subject, at, earlier, at, points.above(one.values, limit), None,
        _level(one, 0, len(one)), _best(ranked), (), (), (note,),
    )  # fmt: skip


# What was recorded.


class _Timing:
    """How near to the signal's change, which was between `low` and `high`, changes lie; `span` is what was
    looked at. All in seconds since the epoch."""

    def __init__(
        self, changes: Sequence[Change], signal: Signal, low: float, high: float, span: tuple[float, float]
    ) -> None:
        instants = {one.at for one in changes if one.affects is None or signal in one.affects}
        self._often = max(1, len(instants)) / max(1.0, span[1] - span[0])
        self._low, self._high = low, high

    def of(self, at: float) -> float:
        """What is left of a change at the instant `at` when accident is taken off, 0 to 1."""
        reach = (self._high - self._low) / 2 + max(0.0, self._low - at, at - self._high)
        p = -math.expm1(-2 * self._often * max(reach, 1e-3))
        odds = 1.0 if p >= 1 / math.e else 1.0 / (-math.e * p * math.log(p))
        return odds / (1.0 + odds)

    def follows(self, at: float) -> bool:
        """Whether the signal had changed before."""
        return at > self._high + SLACK

    def before(self, at: float) -> float:
        """Seconds from `at` until the signal had changed."""
        return self._high - at


def _of_change(one: Change, signal: Signal, around: Surroundings, fit: float, timing: _Timing) -> Explanation:
    explained = 1.0
    if one.version:
        explained = around.by_version if _is_fresh(one.version, around) else 0.0
    elif one.mixes:
        explained = 0.0 if around.fresh else around.by_version
    mechanism = 0.9 / math.sqrt(one.part) if one.part else 1.0
    if one.affects is not None and signal not in one.affects:
        mechanism *= HARDLY
    if signal is Signal.ACCURACY and not around.answers_moved:
        mechanism *= HARDLY
    if timing.follows(one.at):
        mechanism *= HARDLY
    # Who answers is in the log, request by request: that it changed then is no accident.
    near = 1.0 if one.version or one.mixes else timing.of(one.at)
    evidence: dict[str, object] = {
        "fit": round(fit, 4), "timing": round(near, 4), "mechanism": round(mechanism, 4),
        "seconds_before": round(timing.before(one.at), 3),
    }  # fmt: skip
    if one.version or one.mixes:
        evidence["explained"] = round(explained, 4)
    score = fit * near * explained * mechanism
    return Explanation(one.axis, one.kind, one.subject, one.sentence, score, one.at, one.record, evidence)


def _is_fresh(version: str, around: Surroundings) -> bool:
    """Whether `version` is one that answers now and did not."""
    return any(version in name.split(" ↔ ") for name in around.fresh)


# What was measured.


def _feature(name: str, moved: Moved, signal: Signal) -> Explanation:
    label = name == LABEL
    score = max(moved.explained, WITHIN) * moved.fit
    if signal is Signal.DRIFT:
        score = moved.fit
    evidence: dict[str, object] = {
        "fit": round(moved.fit, 4), "explained": round(moved.explained, 4),
        "variation": round(moved.shift.variation, 4), "p": moved.shift.p,
    }  # fmt: skip
    kind = "labels" if label else "feature"
    return Explanation(Axis.DATA, kind, name, _moved_sentence(name, moved), score, None, 0, evidence)


def _moved_sentence(name: str, moved: Moved) -> str:
    what = "the labels" if name == LABEL else f"feature {name}"
    cells = zip(moved.shift.grown, moved.shift.before, moved.shift.after, strict=True)
    told = ", ".join(f"{cell}: {100 * was:.3g} % → {100 * now:.3g} %" for cell, was, now in cells)
    return f"{what} moved by {100 * moved.shift.variation:.3g} % ({told})"


def _left(
    requests: Sequence[Request], signal: Signal, window: Window, around: Surroundings, rest: float
) -> list[Explanation]:
    """What is left when nothing else explains the change."""
    found: list[Explanation] = []
    if signal is Signal.ACCURACY and not around.answers_moved:
        sentence = "the same requests are answered as before and are wrong: what is true of them has changed"
        found.append(_residual(Axis.DATA, "concept", "", sentence, rest, 1.0))
    if signal is Signal.ERRORS:
        found += _outage(requests, window, rest)
    if signal.of_answers or signal is Signal.ACCURACY:
        found += _otherwise(around, rest)
    return found


def _outage(requests: Sequence[Request], window: Window, rest: float) -> list[Explanation]:
    after = [
        answer
        for one in requests[int(window.series.requests[window.index]) :]
        for answer in one.answers
        if answer.failed and one.at <= float(window.series.at[window.end - 1])
    ]
    unseen = Counter(answer.version for answer in after if answer.status in UNSEEN)
    if not unseen:
        return []
    share = sum(unseen.values()) / len(after)
    names = ", ".join(sorted(unseen))
    sentence = f"servers of {names} do not answer any more ({100 * share:.3g} % of what fails)"
    return [_residual(Axis.DATA, "upstream", names, sentence, rest, share)]


def _otherwise(around: Surroundings, rest: float) -> list[Explanation]:
    moved = sorted(name for name, told in around.answers.items() if told)
    if around.fresh or not moved or any(name != LABEL for name in around.columns):
        return []
    if len(moved) < len(around.answers) or len(moved) == 1:
        names = ", ".join(moved)
        sentence = f"{names} answers otherwise under the same name, asked the same: was it replaced?"
        return [_residual(Axis.MODEL, "artifact", names, sentence, rest, 0.8)]
    sentence = "every version answers otherwise, though no feature that is kept has moved: were others?"
    return [_residual(Axis.DATA, "inputs", "", sentence, rest, 0.7)]


def _residual(axis: Axis, kind: str, subject: str, sentence: str, rest: float, share: float) -> Explanation:
    evidence: dict[str, object] = {"left": round(rest, 4), "explained": round(share, 4)}
    return Explanation(axis, kind, subject, sentence, rest * share, None, 0, evidence)


def _weighed(one: Explanation, rest: float) -> Explanation:
    return _residual(one.axis, one.kind, one.subject, one.sentence, rest, one.score)


# Telling.


def _best(ranked: Iterable[Explanation]) -> tuple[Explanation, ...]:
    kept = (one for one in ranked if one.score >= TOLD)
    return tuple(sorted(kept, key=lambda one: (-one.score, -(one.at or 0.0)))[:MOST_TOLD])


def _level(one: Series, start: int, end: int) -> Level:
    return Level(
        float(one.at[start]), float(one.at[end - 1]), end - start, float(one.values[start:end].mean())
    )


def _notes(around: Surroundings, requests: Sequence[Request]) -> tuple[str, ...]:
    found = []
    if not around.looked:
        found.append("no features are kept, so that it cannot be said whether requests have changed")
    if not any(one.labels for one in requests):
        found.append("no labels have come, so that it cannot be said whether answers are right")
    return tuple(found)


def _quiet(signal: Signal, one: Series) -> str:
    level = float(one.values.mean())
    return f"{signal.value} has not changed in {len(one)} values: {level:.4g} on the average"
