"""Column types that hold the same on every engine."""

from __future__ import annotations

from sqlalchemy import BigInteger, Dialect, Integer, Text
from sqlalchemy.types import TypeDecorator

WHOLE = BigInteger().with_variant(Integer, "sqlite")
"""A whole number below 2**63. (SQLite numbers rows by itself only in a column called INTEGER.)"""


def spelt(text: str) -> str:
    """Without lone surrogates, which no database holds: they become their escapes (`\\ud83d`)."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


class Words(TypeDecorator[str]):
    """Text as anybody may write it.

    It is kept as `spelt`: a kill is not refused for how it is written. NUL, which PostgreSQL does not hold,
    is escaped there and comes back as it was.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """What the column holds."""
        if value is None:
            return None
        text = spelt(value)
        if dialect.name == "postgresql":
            return text.replace("\\", "\\\\").replace("\0", "\\0")
        return text

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        """What was written."""
        if value is None or dialect.name != "postgresql" or "\\" not in value:
            return value
        return "\\".join(part.replace("\\0", "\0") for part in value.split("\\\\"))
