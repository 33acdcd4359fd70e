"""How the bytes of a body are written: what a payload reader must know besides the bytes."""

from __future__ import annotations

import re
from typing import NamedTuple

_LENGTH = re.compile(r"[0-9]{1,18}")
_SEPARATOR = "\n"


class Media(NamedTuple):
    """A body's media type and codings, as its header fields say; the default is JSON with no coding.

    `header_length` is the number of bytes of JSON before the raw tensors of the V2 protocol's binary tensor
    extension (`Inference-Header-Content-Length`); None when the message has no such field.
    """

    content_type: str = ""
    content_encoding: str = ""
    header_length: int | None = None

    @classmethod
    def of(cls, text: str) -> Media:
        """The media that `text()` wrote. Never raises: a line that is missing is a missing field."""
        if not text:
            return JSON
        content_type, content_encoding, header_length, *_ = (*text.split(_SEPARATOR), "", "")
        return cls.from_fields(content_type, content_encoding, header_length)

    @classmethod
    def from_fields(cls, content_type: str, content_encoding: str, header_length: str) -> Media:
        """The media of a message with these header fields, "" for a field it has not.

        A length that is no decimal number is kept as -1, so that a reader can refuse it.
        """
        length = header_length.strip()
        number = (int(length) if _LENGTH.fullmatch(length) else -1) if length else None
        return cls(_one_line(content_type), _one_line(content_encoding), number)

    def text(self) -> str:
        """In one text, for the wire: "" for JSON with no coding, else the three fields by line."""
        if self.header_length is None and not self.content_encoding and self.is_json:
            return ""
        length = "" if self.header_length is None else str(self.header_length)
        return _SEPARATOR.join((self.content_type, self.content_encoding, length))

    @property
    def is_json(self) -> bool:
        """Whether the media type is JSON, or none is given, which model servers mean as JSON."""
        return not self.content_type or self.media_type == "application/json"

    @property
    def media_type(self) -> str:
        """The media type in lower case, without parameters."""
        return self.content_type.partition(";")[0].strip().lower()


def _one_line(field: str) -> str:
    return " ".join(field.split())


JSON = Media()
