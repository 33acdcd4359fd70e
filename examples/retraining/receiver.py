"""A receiver of signed webhooks, with the standard library alone: verifies, and starts a training once.

    RETRAIN_KEY=whsec_... python examples/retraining/receiver.py 8090

The gateway's part:

    retrain: {kind: webhook, url: "http://127.0.0.1:8090/", allow_private: true, secret_env: RETRAIN_KEY}
"""

from __future__ import annotations

import hmac
import json
import os
import sys
import time
from base64 import b64decode, b64encode
from collections.abc import Mapping
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, HTTPServer

TOLERANCE = 300.0
"""Seconds that a timestamp may be off."""

LONGEST = 1 << 20


def verified(headers: Mapping[str, str], body: bytes, key: bytes, now: float) -> bool:
    """Whether `body` was signed with `key`, not long ago."""
    name, at = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not at.isdecimal() or abs(now - int(at)) > TOLERANCE:
        return False
    signed = hmac.digest(key, f"{name}.{at}.".encode() + body, sha256)
    expected = f"v1,{b64encode(signed).decode()}"
    given = headers.get("webhook-signature", "").split()
    return any(hmac.compare_digest(expected.encode(), one.encode()) for one in given)


class Trainings(BaseHTTPRequestHandler):
    """Starts one training for each id."""

    key = b""
    known: set[str] = set()  # noqa: RUF012 - http.server makes a handler for each request

    def do_POST(self) -> None:
        """Any path."""
        length = int(self.headers.get("content-length", "0"))
        body = self.rfile.read(min(length, LONGEST))
        status = 401
        if verified(
            {name.lower(): value for name, value in self.headers.items()}, body, self.key, time.time()
        ):
            document = json.loads(body)
            status = 202
            if document["id"] not in self.known:
                self.known.add(document["id"])
                print("training:", document["summary"], flush=True)
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()


def main(port: int, secret: str) -> None:
    """Serve on loopback for ever."""
    Trainings.key = b64decode(secret.removeprefix("whsec_"))
    HTTPServer(("127.0.0.1", port), Trainings).serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]), os.environ["RETRAIN_KEY"])
