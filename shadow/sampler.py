"""Which requests are mirrored: each one with the shadow share's probability, whoever sent it."""

from __future__ import annotations

from collections.abc import Callable

from domain.routing import FULL_WEIGHT


class Sampler:
    """Draws per request, not per unit: mirroring a fixed set of units would judge only those.

    `draw` gives uniform numbers in [0, 1).

    >>> Sampler(lambda: 0.25).sampled(2500), Sampler(lambda: 0.25).sampled(2501)
    (False, True)
    """

    __slots__ = ("_draw",)

    def __init__(self, draw: Callable[[], float]) -> None:
        self._draw = draw

    def sampled(self, share: int) -> bool:
        """Whether this request is mirrored, at `share` basis points."""
        if share >= FULL_WEIGHT:
            return True
        return share > 0 and self._draw() * FULL_WEIGHT < share
