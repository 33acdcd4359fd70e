"""With POINTSMAN_TEST_COMPILED=1 the tests run against the compiled twins of the hot modules."""

from __future__ import annotations

import os

from gateway import accelerator

if os.environ.get("POINTSMAN_TEST_COMPILED") == "1" and not accelerator.install():
    raise RuntimeError("nothing is compiled, or the sources have changed since: run `make` again")

# Fixtures; loaded by name, since they import what has to be installed first.
pytest_plugins = ["tests.support.databases"]
