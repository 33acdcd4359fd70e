"""Who is told when something becomes known of a server: the versions that it serves."""

from __future__ import annotations

from collections.abc import Callable


class Group:
    """A version's servers, as one server's standing knows them. Lives as long as the version's `Servers` do.

    It is known weakly, so that what a snapshot does not use any more is forgotten without anybody saying so.
    """

    __slots__ = ("__weakref__", "may_eject", "update")

    def __init__(self, update: Callable[[], None], may_eject: Callable[[], bool]) -> None:
        self.update = update
        self.may_eject = may_eject
