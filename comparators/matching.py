"""Pairing things of two sets so that the sum of their likenesses is the largest possible.

Pairs that are not like at all never meet, so the problem falls apart into components that share no thing,
of one to three things each for boxes with a sensible least overlap. A component of up to `EXACT` by `WIDEST`
things is solved exactly, column by column, keeping the best pairing of each set of rows (dynamic programming
over sets, 2^n · n · m steps). A larger one, of boxes heaped upon each other, is paired greedily, the most
alike first: that finds at least half of the best sum (Avis 1983, A survey of heuristics for the weighted
matching problem), and takes n·m·log(n·m) steps however the boxes lie.
"""

from __future__ import annotations

from comparators.prediction import Values

EXACT = 8
WIDEST = 32


def best_pairs(likeness: Values, least: float) -> list[tuple[int, int]]:
    """Pairs (row, column), each row and column once at most, whose likeness is `least` (above 0) or more."""
    rows, columns = (likeness >= least).nonzero()
    edges: dict[int, dict[int, float]] = {}
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        edges.setdefault(row, {})[column] = float(likeness[row, column])
    found: list[tuple[int, int]] = []
    for component in _components(edges):
        columns_there = {column for row in component for column in edges[row]}
        smaller, larger = sorted((len(component), len(columns_there)))
        if smaller > EXACT or larger > WIDEST:
            found += _greedy({row: edges[row] for row in component})
        elif len(component) == smaller:
            found += _exact({row: edges[row] for row in component})
        else:
            turned: dict[int, dict[int, float]] = {}
            for row in component:
                for column, value in edges[row].items():
                    turned.setdefault(column, {})[row] = value
            found += [(row, column) for column, row in _exact(turned)]
    return sorted(found)


def _components(edges: dict[int, dict[int, float]]) -> list[list[int]]:
    """The rows of each set of rows and columns that hang together."""
    by_column: dict[int, list[int]] = {}
    for row, columns in edges.items():
        for column in columns:
            by_column.setdefault(column, []).append(row)
    seen: set[int] = set()
    components = []
    for first in edges:
        if first in seen:
            continue
        seen.add(first)
        component, waiting = [], [first]
        while waiting:
            row = waiting.pop()
            component.append(row)
            for column in edges[row]:
                fresh = [fellow for fellow in by_column.pop(column, []) if fellow not in seen]
                seen.update(fresh)
                waiting += fresh
        components.append(sorted(component))
    return components


def _exact(edges: dict[int, dict[int, float]]) -> list[tuple[int, int]]:
    """Column by column: the best pairing of each set of rows with the columns so far."""
    rows = sorted(edges)
    bits = {row: 1 << at for at, row in enumerate(rows)}
    by_column: dict[int, list[tuple[int, float]]] = {}
    for row in rows:
        for column, value in edges[row].items():
            by_column.setdefault(column, []).append((row, value))
    best: dict[int, tuple[float, tuple[tuple[int, int], ...]]] = {0: (0.0, ())}
    for column in sorted(by_column):
        extended = dict(best)
        for used, (total, pairs) in best.items():
            for row, value in by_column[column]:
                if used & bits[row]:
                    continue
                now = used | bits[row]
                if now not in extended or extended[now][0] < total + value:
                    extended[now] = (total + value, (*pairs, (row, column)))
        best = extended
    return list(max(best.values(), key=lambda found: found[0])[1])


def _greedy(edges: dict[int, dict[int, float]]) -> list[tuple[int, int]]:
    by_likeness = sorted(
        ((-value, row, column) for row, columns in edges.items() for column, value in columns.items())
    )
    rows: set[int] = set()
    columns_taken: set[int] = set()
    found = []
    for _, row, column in by_likeness:
        if row not in rows and column not in columns_taken:
            rows.add(row)
            columns_taken.add(column)
            found.append((row, column))
    return found
