"""Coverage-guided fuzzing of request and response heads; needs the extra `fuzz` (atheris, Linux).

python -m tests.fuzz.corpus var/fuzz
python -m tests.fuzz.fuzz_head -dict=var/fuzz/words.dict -max_len=4096 var/fuzz/head
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["gateway.head", "gateway.fields"]):
    from tests.fuzz.invariants import Heads

if __name__ == "__main__":
    atheris.Setup(sys.argv, Heads().examine)
    atheris.Fuzz()
