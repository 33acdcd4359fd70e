"""This process's own resources, as the kernel has them."""

from __future__ import annotations

import ctypes
import os
import resource
from collections.abc import Callable

_PAGE = os.sysconf("SC_PAGE_SIZE")


def resident_bytes() -> int:
    """Bytes of this process in memory; 0 where there is no /proc."""
    try:
        descriptor = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # no descriptor is left just now, or another system: memory is not the trouble
        return 0
    try:
        return int(os.read(descriptor, 128).split()[1]) * _PAGE
    finally:
        os.close(descriptor)


def trimmer() -> Callable[[], None]:
    """What gives freed memory back to the kernel: glibc keeps it otherwise. Nothing elsewhere."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is None:
        return lambda: None

    def give_back() -> None:
        trim(0)

    return give_back


def raise_descriptor_limit() -> int:
    """Allow this process and its children as many descriptors as it may have; how many that is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
