"""Records of the chain, read a page at a time, and the next page while the last one is being looked at.

PostgreSQL sends a page as one row of five columns, each with all values of one kind: most of what a row costs
there is its message and its object, not its bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import accumulate, pairwise

from sqlalchemy import Connection, select, text

from storage.database import Database
from storage.tables import AUDIT_RECORDS

PAGE = 5000
"""Records that one reading transaction takes."""

Row = tuple[int, bytes | None, bytes]
"""Number, content (None where it was erased) and hash of a record."""

_R = AUDIT_RECORDS.c

_PACKED = text(
    "SELECT array_agg(sequence ORDER BY sequence), "
    "array_agg(octet_length(content) ORDER BY sequence), string_agg(content, ''::bytea ORDER BY sequence), "
    "array_agg(octet_length(hash) ORDER BY sequence), string_agg(hash, ''::bytea ORDER BY sequence) "
    "FROM (SELECT sequence, content, hash FROM audit_records "
    "WHERE sequence > :after ORDER BY sequence LIMIT :most) AS page"
)


def rows(connection: Connection, after: int, most: int) -> list[Row]:
    """At most `most` records after number `after`, in order."""
    if connection.dialect.name == "postgresql":
        return _packed(connection, after, most)
    query = (
        select(_R.sequence, _R.content, _R.hash).where(_R.sequence > after).order_by(_R.sequence).limit(most)
    )
    return [(number, content, hashed) for number, content, hashed in connection.execute(query)]


def pages(database: Database, size: int) -> Iterator[list[Row]]:
    """All records up to number `size`, as far as there are any. Raises StateUnavailable."""
    with ThreadPoolExecutor(1, "audit-pages") as thread:
        after = 0
        coming = thread.submit(database.read, partial(rows, after=after, most=min(PAGE, size)))
        while after < size and (page := coming.result()):
            after = page[-1][0]
            if after < size:
                wanted = partial(rows, after=after, most=min(PAGE, size - after))
                coming = thread.submit(database.read, wanted)
            yield page


def _packed(connection: Connection, after: int, most: int) -> list[Row]:
    numbers, lengths, contents, hash_lengths, hashes = connection.execute(
        _PACKED, {"after": after, "most": most}
    ).one()
    if numbers is None:
        return []
    content_ends = pairwise(accumulate((length or 0 for length in lengths), initial=0))
    hash_ends = pairwise(accumulate(hash_lengths, initial=0))
    return [
        (number, None if length is None else contents[begin:end], hashes[first:last])
        for number, length, (begin, end), (first, last) in zip(
            numbers, lengths, content_ends, hash_ends, strict=True
        )
    ]
