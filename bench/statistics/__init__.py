"""How guards err and how fast they are, by seeded simulation: docs/statistics.md shows what came out."""

from bench.statistics.scenario import run

__all__ = ["run"]
