"""The retry budget: retries may add a fifth to a version's load and no more.

A retry helps when one request is unlucky and harms when a server is overloaded: then every request fails,
every one is retried, and the load that broke the server is doubled. A limit on the retries *under way*, as a
share of the requests under way, cannot amplify: it is what Envoy does (`retry_budget`: 20 %, at least 3). The
requests under way are counted only when a retry is wanted, so that those which need none pay nothing.
"""

from __future__ import annotations

from collections.abc import Callable

SHARE = 0.2
AT_LEAST = 3
"""Retries under way that are always allowed: a fifth of little traffic is none."""


class RetryBudget:
    """Of one version. `active` counts the version's requests under way, retries included.

    >>> budget = RetryBudget(lambda: 100)
    >>> for _ in range(20):
    ...     budget.started()
    >>> budget.may_retry()
    False
    """

    __slots__ = ("_active", "under_way")

    def __init__(self, active: Callable[[], int]) -> None:
        self._active = active
        self.under_way = 0

    def may_retry(self) -> bool:
        """Whether one more retry stays within the budget. Call `started` if it is made."""
        return self.under_way < AT_LEAST or self.under_way < SHARE * self._active()

    def started(self) -> None:
        """A retry was sent."""
        self.under_way += 1

    def ended(self) -> None:
        """A retry has its answer, failed, or lost its client."""
        self.under_way -= 1
