"""Reading one value out of a JSON body (RFC 6901), for endpoints whose unit is in the body."""

from __future__ import annotations

import orjson


def text_at(body: bytes, pointer: str) -> str | None:
    """The string or whole number at `pointer`; None when the body is not JSON or has none there.

    >>> text_at(b'{"user": {"id": 7}}', "/user/id")
    '7'
    """
    try:
        value: object = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    for token in pointer.split("/")[1:]:
        key = token.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict):
            value = value.get(key)
        elif isinstance(value, list) and key.isascii() and key.isdigit() and int(key) < len(value):
            value = value[int(key)]
        else:
            return None
    if isinstance(value, str):
        return value or None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return None
