"""The kill state among replicas that lose, repeat, reorder and delay messages, restart, and roll back.

The model remembers, beside the real states, which kills each replica has been told of and which kill ids a
re-arm that had seen them cleared. The laws are those of the kill switch: a kill leaves only by such a re-arm.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from domain.errors import StaleRearm
from domain.kill import Kill
from killswitch.state import KillState

REPLICAS = 3
replicas = st.integers(0, REPLICAS - 1)
choices = st.integers(0, 1_000_000)


class Replication(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.states = [KillState() for _ in range(REPLICAS)]
        self.store = KillState()
        self.backups = [KillState()]
        self.messages = [KillState()]
        self.views: list[frozenset[str]] = [frozenset()]
        self.told: list[frozenset[str]] = [frozenset()] * REPLICAS
        self.cleared: frozenset[str] = frozenset()
        self.count = 0

    def _learn(self, replica: int, state: KillState) -> None:
        self.states[replica] = self.states[replica].merge(state)
        self.told[replica] |= {kill.id for kill in state.kills}

    @rule(replica=replicas, lost=st.booleans())
    def kill(self, replica: int, lost: bool) -> None:
        self.count += 1
        kill = Kill(f"{self.count}", "rain", f"replica-{replica}", "bad", float(self.count % 3), "rain-2")
        self.states[replica] = self.states[replica].kill(kill)
        self.told[replica] |= {kill.id}
        if not lost:
            self.messages.append(self.states[replica])

    @rule(replica=replicas)
    def look(self, replica: int) -> None:
        """An operator looks at a replica, and may act on it much later."""
        self.views.append(frozenset(kill.id for kill in self.states[replica].uncleared))

    @rule(replica=replicas, lost=st.booleans())
    def rearm(self, replica: int, lost: bool) -> None:
        self._rearm(replica, frozenset(kill.id for kill in self.states[replica].uncleared), lost)

    @rule(replica=replicas, view=choices, lost=st.booleans())
    def rearm_by_an_old_view(self, replica: int, view: int, lost: bool) -> None:
        self._rearm(replica, self.views[view % len(self.views)], lost)

    def _rearm(self, replica: int, seen: frozenset[str], lost: bool) -> None:
        before = self.states[replica]
        in_force = {kill.id for kill in before.uncleared}
        try:
            after = before.rearm(seen)
        except StaleRearm:
            assert seen != in_force or not in_force
            return
        assert seen == in_force
        assert not after.tripped
        self.states[replica] = after
        self.cleared |= seen
        if not lost:
            self.messages.append(after)

    @rule(replica=replicas, message=choices)
    def deliver(self, replica: int, message: int) -> None:
        """Any message ever sent: late, repeated, out of order; those never drawn are lost."""
        self._learn(replica, self.messages[message % len(self.messages)])

    @rule(replica=replicas)
    def sync(self, replica: int) -> None:
        self.store = self.store.merge(self.states[replica])
        self._learn(replica, self.store)

    @rule(replica=replicas)
    def read_the_store(self, replica: int) -> None:
        self._learn(replica, self.store)

    @rule()
    def back_up_the_store(self) -> None:
        self.backups.append(self.store)

    @rule(backup=choices)
    def roll_the_store_back(self, backup: int) -> None:
        self.store = self.backups[backup % len(self.backups)]

    @rule(replica=replicas)
    def restart_from_the_store(self, replica: int) -> None:
        self.states[replica] = self.store
        self.told[replica] = frozenset(kill.id for kill in self.store.kills)

    @invariant()
    def tripped_exactly_when_a_kill_is_not_cleared(self) -> None:
        for state in [*self.states, self.store]:
            assert state.tripped is bool({kill.id for kill in state.kills} - state.cleared)

    @invariant()
    def a_kill_is_undone_only_by_a_rearm_that_saw_it(self) -> None:
        for state, told in zip(self.states, self.told, strict=True):
            known = {kill.id for kill in state.kills}
            assert told <= known
            assert state.cleared <= self.cleared
            if told - self.cleared:
                assert state.tripped

    @invariant()
    def merging_commutes_associates_and_is_idempotent(self) -> None:
        one, other, third = self.states
        assert one.merge(other) == other.merge(one)
        assert one.merge(other).merge(third) == one.merge(other.merge(third))
        assert one.merge(one) == one

    @invariant()
    def all_agree_once_they_have_heard_one_another(self) -> None:
        agreed = self.store
        for state in self.states:
            agreed = agreed.merge(state)
        heard = [state.merge(agreed) for state in self.states]
        assert all(state == agreed for state in heard)
        in_force = frozenset[str]().union(*self.told) - self.cleared
        assert in_force <= {kill.id for kill in agreed.uncleared}
        assert agreed.tripped or not in_force


TestReplication = Replication.TestCase
TestReplication.settings = settings(
    max_examples=300,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
