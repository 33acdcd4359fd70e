"""Coverage-guided fuzzing of chunked bodies; needs the extra `fuzz` (atheris, Linux).

An input's first byte is the size of its slices.

python -m tests.fuzz.corpus var/fuzz
python -m tests.fuzz.fuzz_chunks -dict=var/fuzz/words.dict -max_len=1024 var/fuzz/chunks
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["gateway.chunks"]):
    from tests.fuzz.invariants import examine_chunks


def examine(data: bytes) -> None:
    """One input."""
    if data:
        examine_chunks(data[1:], data[0] % 16 + 1)


if __name__ == "__main__":
    atheris.Setup(sys.argv, examine)
    atheris.Fuzz()
