"""Cutting a line of numbers into bins that hold about as many values each, and finding each value's bin."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def quantile_edges(values: Floats, bins: int) -> tuple[float, ...]:
    """The edges, ascending and different, between at most `bins` bins of the finite `values`, shape (n,).

    Each edge is one of the values, so that what is often one number has a bin that ends at it.

    >>> quantile_edges(np.arange(1.0, 11.0), 2)
    (5.0,)
    """
    known = values[np.isfinite(values)]
    if not len(known):
        return ()
    cuts = np.unique(np.quantile(known, np.arange(1, bins) / bins, method="inverted_cdf"))
    return tuple(cuts.tolist())


def bins_of(edges: tuple[float, ...], values: Floats) -> npt.NDArray[np.int64]:
    """The bin of each value, from 0 to len(edges); a value at an edge belongs to the bin below it.

    >>> bins_of((5.0,), np.array([4.0, 5.0, 6.0])).tolist()
    [0, 0, 1]
    """
    return np.searchsorted(np.array(edges), values).astype(np.int64)
