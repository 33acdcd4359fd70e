"""The audit chain: its records, its state, its export, and proofs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Path, Query
from starlette.responses import Response, StreamingResponse

from audit import merkle, mlbom, pages, store
from audit.chain import BrokenChain, Verification
from audit.event import decode, export_line
from audit.times import iso
from control import live_view
from control.answers import SAFE_HEADERS, json
from control.panel import Panel
from control.roles import Role, needs
from domain.errors import StateUnavailable

After = Annotated[int, Query(ge=0, le=2**53)]
Limit = Annotated[int, Query(ge=1, le=1000)]
Sequence = Annotated[int, Path(ge=1, le=2**53)]
Size = Annotated[int | None, Query(ge=1, le=2**53)]
Name = Annotated[str, Path(max_length=200)]

Page = list[tuple[int, bytes | None, bytes]]


def routes(panel: Panel) -> APIRouter:
    """`/api/v1/audit` and below."""
    router = APIRouter(prefix="/api/v1/audit", tags=["audit"])
    keeper, recorder = panel.switchboard.keeper, panel.switchboard.recorder

    async def tip() -> store.Tip:
        return await keeper.run(lambda database: database.read(store.tip))

    async def records(last: int) -> AsyncIterator[Page]:
        """The first `last` records. The store's thread is free between two pages: kills need it."""
        after = 0
        while after < last:
            wanted = partial(pages.rows, after=after, most=min(pages.PAGE, last - after))
            found = await keeper.run(lambda database, wanted=wanted: database.read(wanted))  # type: ignore[misc]
            if not found:
                return
            yield found
            after = found[-1][0]

    @router.get("", dependencies=[needs(Role.VIEWER)])
    async def events(after: After = 0, limit: Limit = 100, latest: bool = False) -> Response:
        """Records after number `after`, oldest first; with `latest`, the last ones."""
        await recorder.flush()
        size = (await tip()).size
        begin = max(0, size - limit) if latest else after
        wanted = partial(pages.rows, after=begin, most=limit)
        found = await keeper.run(lambda database: database.read(wanted))
        shown = [
            {"sequence": number, "erased": True, "hash": hashed.hex()}
            if content is None
            else {**live_view.shown(*decode(content)), "hash": hashed.hex()}
            for number, content, hashed in found
        ]
        return json({"size": size, "events": shown})

    @router.get("/verify", dependencies=[needs(Role.VIEWER)])
    async def verify() -> Response:
        """Read the whole chain and say whether it is whole, and held against the last signed head."""
        heads = panel.heads
        known = () if heads.last is None else (heads.last,)
        end = await tip()
        answer: dict[str, object] = {
            "intact": True, "size": end.size, "waiting": recorder.waiting, "failure": recorder.failure,
            "problem": heads.problem, "key": None if heads.key is None else heads.key.hex(),
            "head": None if heads.last is None else {"size": heads.last.size, "at": iso(heads.last.at)},
        }  # fmt: skip
        try:
            verification = Verification(known)
            async for page in records(end.size):
                rows = [(content, hashed) for _, content, hashed in page]
                await asyncio.to_thread(verification.read, rows)
            if verification.size < end.size:
                raise BrokenChain(verification.size + 1, f"it is missing; the head knows {end.size} records")
            found = verification.end()
            if (found.chain, found.root) != (end.chain, end.frontier.root()):
                raise BrokenChain(end.size, "the records do not lead to the head in the database")
        except BrokenChain as error:
            return json({**answer, "intact": False, "sequence": error.sequence, "reason": error.reason})
        return json({**answer, "root": found.root.hex(), "chain": found.chain.hex(), "erased": found.erased})

    @router.get("/export", response_class=StreamingResponse, dependencies=[needs(Role.VIEWER)])
    async def export() -> StreamingResponse:
        """Every record as a line of JSON, in the very bytes that were hashed."""
        await recorder.flush()
        last = (await tip()).size

        async def lines() -> AsyncIterator[bytes]:
            async for page in records(last):
                yield b"".join(export_line(content, hashed) + b"\n" for _, content, hashed in page)

        return StreamingResponse(lines(), 200, SAFE_HEADERS, "application/jsonl")

    @router.get("/{sequence}/proof", dependencies=[needs(Role.VIEWER)])
    async def proof(sequence: Sequence, size: Size = None) -> Response:
        """That a record is in the tree of the first `size` records (RFC 9162 section 2.1.3), or of all."""
        last = (await tip()).size if size is None else size
        if not sequence <= last <= (await tip()).size:
            raise store.UnknownRecord(f"the first {last} records of the chain do not have record {sequence}")
        leaves = [hashed async for page in records(last) for _, _, hashed in page]
        if len(leaves) < last:
            raise StateUnavailable("the chain is not whole; see /api/v1/audit/verify")
        path = await asyncio.to_thread(merkle.inclusion_proof, leaves, sequence - 1)
        root = await asyncio.to_thread(merkle.root, leaves)
        return json(
            {
                "sequence": sequence, "size": last, "leaf": leaves[sequence - 1].hex(), "root": root.hex(),
                "path": [one.hex() for one in path],
            }
        )  # fmt: skip

    @router.get("/versions/{version}/mlbom", dependencies=[needs(Role.VIEWER)])
    async def bill(version: Name) -> Response:
        """What a version was made of, as a CycloneDX 1.6 bill of materials."""
        await recorder.flush()
        now = recorder.now()
        found = await keeper.run(lambda database: database.read(partial(mlbom.read, version=version, at=now)))
        return json(found)

    return router
