"""`python -m gateway.process`: one gateway worker, started by the supervisor only."""

from __future__ import annotations

import signal

from gateway import accelerator


def main() -> None:
    """Serve, with compiled code where there is some."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    accelerator.install()
    from gateway.serving import run  # not before: it imports what the accelerator stands in for

    run()


if __name__ == "__main__":
    main()
