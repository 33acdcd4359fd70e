"""What a flag platform said of units, as far as this worker has been told.

Problem. Some platforms give no rules that a worker could evaluate: they have to be asked, unit by unit, and a
request cannot wait for that. So a request asks nobody. It looks here, and where nothing is known the unit
stays with the incumbent, and the question is noted, to be sent to the control process with what is sent there
anyway. The answer is there for the unit's next request.

Guarantee. An answer decides for at most `age` seconds, also when the control process or the platform is gone:
after that the unit is back with the incumbent. At most `most` answers are held, and at most `MOST_WAITING`
questions wait; more are left out, counted, and asked again by the unit's next request.

Answers stand in two halves, a young and an old one. When half of `age` is over, or the young half is full,
the young become the old and the old are forgotten. An answer found among the old still holds and is asked
for again, so a unit that keeps coming never falls back to the incumbent between two answers, and one that
does not come is forgotten. No answer needs a time of its own.
"""

from __future__ import annotations

from collections.abc import Iterable

from domain.exposure import Exposed, Question
from domain.snapshot import Lookup
from routing.constraints import Rule
from routing.context import FlagContext

MOST_WAITING = 1_000
"""Questions that wait to be sent."""

MOST_SENT = 20_000
"""Questions that were sent in the last `REPEAT` seconds: as many as are asked in that time."""

REPEAT = 1.0
"""Seconds after which a question without an answer is asked again."""

LONGEST = 1_024
"""Characters of a question that is asked; a longer one has no answer, so that its unit is not exposed."""


class Answers:
    """One worker's answers. It knows no clock: `take` is told the time, in seconds, and is called often.

    Attributes:
        left_out: questions that were not asked because too many were, since it was last taken.
    """

    def __init__(self) -> None:
        self.left_out = 0
        self._lookup: Lookup | None = None
        self._young: dict[Question, bool] = {}
        self._old: dict[Question, bool] = {}
        self._turned_at: float | None = None
        self._waiting: dict[Question, None] = {}
        self._sent: set[Question] = set()
        self._sent_since: float | None = None

    def __repr__(self) -> str:
        held = len(self._young.keys() | self._old.keys())
        return f"<Answers {held} held, {len(self._waiting)} questions waiting>"

    def follow(self, lookup: Lookup | None) -> None:
        """Hold answers of this source, in these bounds; those of another source are forgotten."""
        before, self._lookup = self._lookup, lookup
        if before is None or lookup is None or before.source != lookup.source:
            self._forget()

    def rule(self, flag: str, names: Iterable[str]) -> Rule:
        """`flag` as it has been answered; `names` are the context fields that belong to the question."""
        ordered = sorted(set(names))

        def judge(unit: str | None, context: FlagContext) -> bool:
            if unit is None:
                return False
            found = [(name, value) for name in ordered if (value := _field(context, name)) is not None]
            return self.exposes(Question(flag, unit, tuple(found)))

        def judge_by_unit(unit: str | None, context: FlagContext) -> bool:
            return unit is not None and self.exposes(Question(flag, unit))

        return judge if ordered else judge_by_unit

    def exposes(self, question: Question) -> bool:
        """The answer that is held; False, and a question to be sent, where there is none."""
        exposed = self._young.get(question)
        if exposed is None:
            exposed = self._old.get(question, False)
            self._ask(question)
        return exposed

    def learn(self, source: str, answers: Iterable[Exposed]) -> None:
        """Hold `answers`, the latest of each question; those of another source are not."""
        if self._lookup is None or self._lookup.source != source:
            return
        half = max(1, self._lookup.most // 2)
        for question, exposed in answers:
            if len(self._young) >= half and question not in self._young:
                self._turn()
            self._young[question] = exposed
            self._sent.discard(question)

    def take(self, now: float) -> list[Question]:
        """The questions to be sent now. It is also when answers grow old."""
        self._grow_old(now)
        if self._sent_since is None or not 0 <= now - self._sent_since < REPEAT:
            self._sent.clear()
            self._sent_since = now
        questions, self._waiting = list(self._waiting), {}
        self._sent.update(questions)
        return questions

    def take_left_out(self) -> int:
        """How many questions were not asked since this was last called."""
        left_out, self.left_out = self.left_out, 0
        return left_out

    def _grow_old(self, now: float) -> None:
        if self._lookup is None:
            return
        if self._turned_at is None:
            self._turned_at = now
        passed = now - self._turned_at
        if not 0 <= passed < self._lookup.age:
            self._forget()
            self._turned_at = now
        elif passed >= self._lookup.age / 2:
            self._turn()
            # Not now: what was learned since the last turn must be gone an age after that.
            self._turned_at += self._lookup.age / 2

    def _turn(self) -> None:
        self._old, self._young = self._young, {}

    def _forget(self) -> None:
        self._young, self._old = {}, {}
        self._waiting, self._sent = {}, set()

    def _ask(self, question: Question) -> None:
        if question in self._waiting or question in self._sent:
            return
        if len(self._waiting) >= MOST_WAITING or len(self._sent) >= MOST_SENT:
            self.left_out += 1
        elif _can_be_asked(question):
            self._waiting[question] = None


def _field(context: FlagContext, name: str) -> str | None:
    return context.session_id if name == "sessionId" else context.properties.get(name)


def _can_be_asked(question: Question) -> bool:
    """Not too long, and text that has a UTF-8 form, which a lone surrogate has not."""
    texts = (question.unit, *(value for _, value in question.fields))
    if sum(map(len, texts)) > LONGEST:
        return False
    try:
        for text in texts:
            text.encode()
    except UnicodeEncodeError:
        return False
    return True
