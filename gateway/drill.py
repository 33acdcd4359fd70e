"""A drill in the data plane: the candidate's answers, spoilt on their way.

The problem: a way back that was never taken is only believed in. So now and then the candidate answers badly
on purpose, where it is agreed that it may, and everything that follows has to happen by itself. The
guarantee: nothing but the candidate's answers is touched, nobody but who the drill is for gets one, and it
ends by itself, whoever dies, because each worker knows its deadline.

Where it sits: between the candidate's servers and whoever asked them. While a drill runs, the servers of the
candidate are those of `DrilledServers`, whose pools hand each question on with a recipient of our own in
front of the real one. Exchange, mirror, breaker and judge see a model server that answers badly, and nothing
of the drill. An endpoint without a drill pays nothing: its servers are the plain ones.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Final

from domain.observation import Outcome
from domain.routing import FULL_WEIGHT, Arm, Balance
from domain.snapshot import Drill, Endpoint, Fault
from gateway import alteration
from gateway.head import ResponseGrammar, ResponseHead
from gateway.pool import Pool
from gateway.servers import Servers
from gateway.upstream import Recipient, UpstreamConnection
from shadow.tasks import Tasks
from shadow.wire import DrillReport

MOST_HELD: Final = 1024 * 1024
"""Bytes of an answer that is held until it is whole, to be altered; a longer one passes as it is."""
REMEMBERED: Final = 120.0
"""Seconds after its deadline for which a drill is remembered, for answers that were under way."""

_HEAD_END = b"\r\n\r\n"
_CODINGS = re.compile(rb"\r\naccept-encoding:[^\r\n]*", re.IGNORECASE)
_FRAMING = re.compile(
    rb"\r\n(?:content-length|transfer-encoding|connection|keep-alive):[^\r\n]*", re.IGNORECASE
)
_FAILED = b'{"error":"a drill has taken the place of this answer"}'


class Faults:
    """What one drill does in this worker, over all snapshots that hold it; and what it has done.

    Attributes:
        field: the line that says so, with its leading CRLF.
        waiting: who asked and has no connection yet, with the one that stands in front.
    """

    __slots__ = (
        "_change", "_clock", "_draw", "_grammar", "drill", "field", "loop", "protocol", "report", "told",
        "waiting",
    )  # fmt: skip

    def __init__(
        self, drill: Drill, protocol: str, loop: asyncio.AbstractEventLoop, clock: Callable[[], float],
        draw: Callable[[], float],
    ) -> None:  # fmt: skip
        self.drill = drill
        self.protocol = protocol
        self.loop = loop
        self.field = b"\r\nx-pointsman-drill: %b" % drill.id.encode()
        self.waiting: dict[Recipient, Drilled] = {}
        self.report = DrillReport(drill.id)
        self.told = self.report
        self._clock = clock
        self._draw = draw
        self._grammar = ResponseGrammar()
        noisy = drill.fault is Fault.NOISE
        self._change = alteration.noise(drill.amount, draw) if noisy else alteration.flip(drill.kind)

    def strikes(self, recipient: Recipient) -> bool:
        """Whether the answer to `recipient` is to be spoilt."""
        drill = self.drill
        if recipient.streams_answer and not drill.served:
            return False
        return self._clock() < drill.until and self._draw() * FULL_WEIGHT < drill.share

    def spoilt(self, *, served: bool) -> None:
        """An answer went out that was bad; `served`: to a client."""
        now = self._clock()
        before = self.report
        self.report = DrillReport(
            before.drill, before.spoilt + 1, before.served + served, before.left,
            now if before.spoilt == 0 else before.first, now,
            now if served and not before.served else before.first_served,
            now if served else before.last_served,
        )  # fmt: skip

    def left_alone(self) -> None:
        """An answer could not be altered."""
        before = self.report
        self.report = DrillReport(
            before.drill, before.spoilt, before.served, before.left + 1, before.first, before.last,
            before.first_served, before.last_served,
        )  # fmt: skip

    def bad(self, head: ResponseHead, body: bytes) -> tuple[ResponseHead, bytes] | None:
        """The answer to give in place of this one; None where it cannot be altered."""
        fault = self.drill.fault
        if fault is Fault.ERROR:
            raw = b"HTTP/1.1 500 Internal Server Error\r\ncontent-type: application/json"
            return self._head(raw, len(_FAILED)), _FAILED
        if fault is Fault.JSON:
            body = body[: len(body) // 2] or b"{"
            return self._head(_FRAMING.sub(b"", head.raw[: -len(_HEAD_END)]), len(body)), body
        if head.media or not 200 <= head.status < 300:
            return None
        drill = self.drill
        made = alteration.altered(body, self.protocol, drill.kind, drill.output, self._change)
        if made is None:
            return None
        return self._head(_FRAMING.sub(b"", head.raw[: -len(_HEAD_END)]), len(made)), made

    def _head(self, raw: bytes, length: int) -> ResponseHead:
        return self._grammar.parse(b"%b\r\ncontent-length: %d" % (raw, length))


class Drilled:
    """Stands in front of `recipient`, and gives it a bad answer where one is due. See gateway.upstream."""

    __slots__ = (
        "_deadline", "_faults", "_head", "_held", "_late", "_pieces", "_recipient", "_strikes", "_timer",
        "_until_close", "is_head",
    )  # fmt: skip

    def __init__(self, recipient: Recipient, faults: Faults, deadline: float, *, strikes: bool) -> None:
        self.is_head = recipient.is_head
        self._recipient = recipient
        self._faults = faults
        self._deadline = deadline
        self._strikes = strikes
        self._late = strikes and faults.drill.fault is Fault.LATENCY
        self._head: ResponseHead | None = None
        self._pieces: list[bytes] | None = None
        self._held = 0
        self._until_close = False
        self._timer: asyncio.TimerHandle | None = None

    @property
    def abandoned(self) -> bool:
        return self._recipient.abandoned

    @property
    def streams_answer(self) -> bool:
        return self._recipient.streams_answer

    @property
    def streams_upload(self) -> bool:
        return self._recipient.streams_upload

    def wait(self, ask: Callable[[], None]) -> None:
        """Be late: `ask` when the drill's latency is over."""
        self._timer = self._faults.loop.call_later(self._faults.drill.amount, ask)

    def gone(self) -> None:
        """Nobody waits any more."""
        if self._timer is not None:
            self._timer.cancel()

    def payload(self, authority: bytes, target_prefix: bytes) -> bytes:
        """The request says that it belongs to a drill, and asks for an answer that can be altered."""
        head, end, body = self._recipient.payload(authority, target_prefix).partition(_HEAD_END)
        return b"%b%b%b%b" % (_CODINGS.sub(b"", head), self._faults.field, end, body)

    def connected(self, connection: UpstreamConnection) -> None:
        self._faults.waiting.pop(self._recipient, None)
        if self._strikes:
            connection.deadline = max(connection.deadline, self._deadline)
        self._recipient.connected(connection)

    def interim(self, head: ResponseHead) -> None:
        self._recipient.interim(head)

    def answered(self, head: ResponseHead, body: bytes) -> None:
        recipient = self._recipient
        if not self._strikes:
            recipient.answered(head, body)
        elif not self._late:
            self._give(head, body, whole=True)
        elif recipient.streams_answer:
            self._spoilt()  # an exchange was late before it asked
            recipient.answered(head, body)
        else:
            self._answer_late(head, body)

    def _answer_late(self, head: ResponseHead, body: bytes) -> None:
        def answer() -> None:
            self._spoilt()
            if self._faults.drill.amount < left:
                self._recipient.answered(head, body)
            else:
                self._recipient.failed(Outcome.TIMEOUT, "its answer was not whole in time", unanswered=False)

        left = max(0.0, self._deadline - self._faults.loop.time())
        self._timer = self._faults.loop.call_later(min(self._faults.drill.amount, left), answer)

    def _give(self, head: ResponseHead, body: bytes, *, whole: bool) -> None:
        recipient = self._recipient
        bad = None if recipient.is_head else self._faults.bad(head, body)
        if bad is not None:
            self._spoilt()
            recipient.answered(*bad)
            return
        self._faults.left_alone()
        if whole:
            recipient.answered(head, body)
        else:
            recipient.begun(head, until_close=self._until_close)
            recipient.piece(body)
            recipient.ended()

    def _spoilt(self) -> None:
        recipient = self._recipient
        self._faults.spoilt(served=recipient.streams_answer and not recipient.abandoned)

    def begun(self, head: ResponseHead, *, until_close: bool) -> None:
        if not self._strikes or self._late or head.content_length > MOST_HELD:
            if self._strikes:
                self._tell_of_stream()
            self._recipient.begun(head, until_close=until_close)
            return
        self._head = head
        self._until_close = until_close
        self._pieces = []

    def _tell_of_stream(self) -> None:
        """A stream cannot be altered; it can be late, where that was so before it was asked for."""
        self._strikes = False
        if self._late and self._recipient.streams_answer:
            self._spoilt()
        else:
            self._faults.left_alone()

    def piece(self, data: bytes) -> None:
        pieces, head = self._pieces, self._head
        if pieces is None or head is None:
            self._recipient.piece(data)
            return
        pieces.append(data)
        self._held += len(data)
        if self._held > MOST_HELD:
            self._pieces = None
            self._strikes = False
            self._faults.left_alone()
            self._recipient.begun(head, until_close=self._until_close)
            self._recipient.piece(b"".join(pieces))

    def ended(self) -> None:
        pieces, head = self._pieces, self._head
        if pieces is None or head is None:
            self._recipient.ended()
        else:
            self._pieces = None
            self._give(head, b"".join(pieces), whole=False)

    def failed(self, outcome: Outcome, reason: str, *, unanswered: bool) -> None:
        self._faults.waiting.pop(self._recipient, None)
        self._recipient.failed(outcome, reason, unanswered=unanswered)

    def upload_paused(self) -> None:
        self._recipient.upload_paused()

    def upload_resumed(self) -> None:
        self._recipient.upload_resumed()


class DrilledPool(Pool):
    """Asks through `real`, with a `Drilled` in front of whoever asks. It has no connections of its own."""

    def __init__(self, real: Pool, faults: Faults, tasks: Tasks, clock: Callable[[], float]) -> None:
        super().__init__(real.upstream, faults.loop, tasks, clock)
        self.real = real
        self.faults = faults

    def ask(self, recipient: Recipient, deadline: float, timeout: float) -> None:
        """See Pool."""
        faults = self.faults
        now = self.now()
        strikes = faults.strikes(recipient)
        drilled = Drilled(recipient, faults, now + timeout if strikes else deadline, strikes=strikes)
        faults.waiting[recipient] = drilled
        late = faults.drill.fault is Fault.LATENCY and recipient.streams_answer
        if not (strikes and late):
            self.real.ask(drilled, deadline, timeout)
        elif now + faults.drill.amount < deadline:
            drilled.wait(lambda: self.real.ask(drilled, deadline, timeout))
        else:
            left = max(0.0, deadline - now)
            faults.loop.call_later(left, lambda: self._expire(drilled, recipient))

    def _expire(self, drilled: Drilled, recipient: Recipient) -> None:
        if self.faults.waiting.get(recipient) is drilled:
            self.faults.spoilt(served=False)
            drilled.failed(Outcome.TIMEOUT, "its answer was not whole in time", unanswered=False)

    def upload(self, recipient: Recipient, deadline: float, timeout: float) -> None:
        """See Pool; the answer to a body that streams is not made late."""
        strikes = self.faults.strikes(recipient) and self.faults.drill.fault is not Fault.LATENCY
        drilled = Drilled(recipient, self.faults, deadline, strikes=strikes)
        self.faults.waiting[recipient] = drilled
        self.real.upload(drilled, deadline, timeout)

    def leave(self, recipient: Recipient) -> None:
        """See Pool."""
        drilled = self.faults.waiting.pop(recipient, None)
        if drilled is not None:
            drilled.gone()
            self.real.leave(drilled)


class DrilledServers(Servers):
    """The servers of a candidate whose answers a drill spoils."""

    def __init__(
        self,
        pools: tuple[Pool, ...],
        arm: Arm,
        balance: Balance,
        faults: Faults,
        tasks: Tasks,
        clock: Callable[[], float],
    ) -> None:
        super().__init__(pools, arm, balance)
        self._drilled = {pool: DrilledPool(pool, faults, tasks, clock) for pool in pools}

    def update(self) -> None:
        """See Servers. Nobody is to be asked but by `choose`."""
        super().update()
        self.only = None

    def choose(self, tried: frozenset[Pool] = frozenset()) -> Pool | None:
        """See Servers."""
        chosen = super().choose(frozenset(pool.real for pool in tried if isinstance(pool, DrilledPool)))
        return None if chosen is None else self._drilled[chosen]


class Drills:
    """The drills that this worker knows of, over snapshots."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, tasks: Tasks, clock: Callable[[], float],
        draw: Callable[[], float],
    ) -> None:  # fmt: skip
        self._loop = loop
        self._tasks = tasks
        self._clock = clock
        self._draw = draw
        self._known: dict[str, Faults] = {}

    def of(self, endpoint: Endpoint) -> Faults | None:
        """What the drill of `endpoint` does; None where there is none, or it is over."""
        drill = endpoint.drill
        if drill is None or endpoint.tripped or self._clock() >= drill.until:
            return None
        known = self._known.get(drill.id)
        if known is None or known.drill != drill:
            known = Faults(drill, endpoint.protocol, self._loop, self._clock, self._draw)
            self._known[drill.id] = known
        return known

    def servers(self, plain: Servers, balance: Balance, faults: Faults) -> Servers:
        """Those of `plain`, with the drill in front."""
        return DrilledServers(plain.pools, plain.arm, balance, faults, self._tasks, self._clock)

    def news(self) -> list[DrillReport]:
        """What the drills have done, where that is not told yet."""
        if not self._known:
            return []
        now = self._clock()
        for name in [name for name, one in self._known.items() if now > one.drill.until + REMEMBERED]:
            del self._known[name]
        changed = [one for one in self._known.values() if one.report is not one.told]
        for one in changed:
            one.told = one.report
        return [one.report for one in changed]
