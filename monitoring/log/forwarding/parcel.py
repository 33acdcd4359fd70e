"""What is sent on at once, and where in the log it stands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

import msgspec


class Position(NamedTuple):
    """After which record: its number in its segment; (1, 0) is before everything."""

    segment: int
    number: int


START = Position(1, 0)
UNKNOWN = "unknown"
"""The endpoint of records that cannot be read."""


class Parcel(msgspec.Struct, frozen=True, array_like=True):
    """Records of one segment, in the order they were kept.

    Attributes:
        origin: which folder they come from, for ever; with segment and number it names one record.
        numbers: of the records in their segment, rising.
        records: each as `monitoring.log.segments.encoded` has it.
    """

    origin: str
    segment: int
    numbers: list[int]
    records: list[bytes]

    @property
    def end(self) -> Position:
        """The place after the last of them."""
        return Position(self.segment, self.numbers[-1])

    def packed(self) -> bytes:
        """What `unpacked` reads."""
        return _encoder.encode(self)


class Sink(Protocol):
    """Where records are sent on to. Methods raise StateUnavailable, and may be called again at once.

    Attributes:
        name: as metrics call it.
    """

    name: str

    async def position(self, origin: str) -> Position | None:
        """The end of what it has of `origin`, START for nothing; None: it cannot be asked."""
        ...

    async def send(self, parcel: Parcel) -> Mapping[str, int]:
        """Have the parcel there, durably as far as the sink goes, when this returns.

        Says how many records, by endpoint, it left out because it can never take them.

        After an error it may be there all the same: ask `position`, and send what follows that.
        """
        ...

    async def close(self) -> None:
        """Let go of all connections."""
        ...


_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Parcel] = msgspec.msgpack.Decoder(Parcel)


def unpacked(data: bytes) -> Parcel:
    """The parcel. Raises msgspec.MsgspecError for anything else."""
    return _decoder.decode(data)
