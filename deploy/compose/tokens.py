"""Makes the tokens of docker-compose.yml, once, in the gateway's image: one for you, one for Prometheus."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

READABLE = {"admin": 0o600, "prometheus": 0o644}
"""Prometheus is another user."""


def make(folder: Path) -> None:
    """Files `admin` and `prometheus` with a token each, and `tokens.json` with their digests."""
    for name, role in (("admin", "admin"), ("prometheus", "viewer")):
        path = folder / name
        if path.exists():
            continue
        command = ["pointsman", "token", "create", name, "--role", role, "--expires", "never"]
        made = subprocess.run(  # noqa: S603 - our own program
            [*command, "--file", str(folder / "tokens.json")], stdout=subprocess.PIPE, check=True
        )
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, READABLE[name])
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, READABLE[name])
            file.write(made.stdout.strip())


if __name__ == "__main__":
    make(Path(sys.argv[1]))
