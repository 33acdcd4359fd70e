"""Approvals in the control process: taken by any replica, kept with their record, read by whoever leads.

An approval moves nothing by itself. It is a row in the database, written in one transaction with its record
in the audit chain, and the release's leader reads the rows again at every look. So it makes no difference
which replica was asked, which of them leads, or whether any of them was restarted in between.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection

from control.clock import Clock, iso
from control.events import Events
from control.identity import Identity
from control.keeper import Keeper
from control.log import note
from control.switchboard import Switchboard
from gates import approved, releases
from gates.approvals import Agreement, Approval, ApprovalRefused, agreement, subject_digest
from gates.release import Phase, Release
from settings.promotion import ApprovalSettings

log = logging.getLogger("pointsman.approvals")
T = TypeVar("T")


class ApprovalDesk:
    """Who has approved what."""

    def __init__(self, switchboard: Switchboard, keeper: Keeper, events: Events, clock: Clock) -> None:
        self._switchboard = switchboard
        self._keeper = keeper
        self._events = events
        self._clock = clock

    async def agreement(self, found: Release) -> Agreement:
        """How far people agree on `found` as it stands. Raises StateUnavailable."""
        return await self._read(lambda on: self._agreement(on, found))

    async def approve(self, found: Release, reason: str, who: Identity) -> Agreement:
        """`who` approves `found`; what is agreed then. Once more by the same person changes nothing.

        Raises ApprovalRefused (nobody asks for it, or not this person's), and StateUnavailable.
        """
        before = await self._read(lambda on: self._asked(on, found.id, who))
        if who.name in {one.by for one in before.given}:
            return before
        settings = self._switchboard.settings
        subject = subject_digest(found, settings.digest)
        given = Approval(found.id, subject, who.name, who.authentication, reason, self._clock.wall())

        def keep(on: Connection) -> None:
            # Again, under the lock that whoever records holds: an approval may have come in between.
            now = self._asked(on, found.id, who)
            if given.by in {one.by for one in now.given}:
                raise ApprovalRefused(f"{given.by} has approved this very moment")
            approved.keep(on, given)

        recorder = self._switchboard.recorder
        event = recorder.event(
            "release.approved", "release", found.endpoint, actor=who.name, reason=reason,
            authentication=who.authentication,
            after={
                "release": found.id, "attempt": found.attempt, "subject": subject,
                "incumbent": found.incumbent, "candidate": found.candidate,
                "candidate_digest": found.candidate_digest, "incumbent_digest": found.incumbent_digest,
                "demands": found.gates, "configuration": settings.digest,
            },
        )  # fmt: skip
        await recorder.together(keep, event)
        told: dict[str, object] = {
            "endpoint": found.endpoint, "release": found.id, "state": "given", "by": who.name,
            "at": iso(given.at),
        }  # fmt: skip
        note(log, logging.INFO, "approval", **told)
        self._events.tell("approval", told)
        return await self.agreement(found)

    def _asked(self, on: Connection, name: str, who: Identity) -> Agreement:
        """What is agreed on the release, which asks for approvals, and may be asked for `who`'s."""
        found = releases.find(on, name)
        if found is None or found.phase is not Phase.APPROVING:
            stands = "gone" if found is None else found.phase.value
            raise ApprovalRefused(
                f"this release is {stands}: it is approved while it is {Phase.APPROVING.value}, when its "
                "gates have passed"
            )
        if not who.authentication:
            raise ApprovalRefused("an approval is somebody's: say whose it is")
        if who.name == found.by:
            raise ApprovalRefused(f"{who.name} started this release: somebody else has to approve it")
        return self._agreement(on, found)

    def _agreement(self, on: Connection, found: Release) -> Agreement:
        judge = self._switchboard.judges.get(found.endpoint)
        wanted = ApprovalSettings() if judge is None else judge.settings.approvals
        return agreement(
            approved.of_release(on, found.id), found, self._switchboard.settings.digest,
            wanted.people, wanted.valid_for, self._clock.wall(),
        )  # fmt: skip

    async def _read(self, work: Callable[[Connection], T]) -> T:
        return await self._keeper.run(lambda database: database.read(work))
