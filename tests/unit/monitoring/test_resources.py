"""What processes and the machine use: real ones, and /proc as other systems have it."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
from pathlib import Path

import pytest

from monitoring import resources

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="this system has no /proc")


def test_this_process_is_seen_as_the_kernel_counts_it() -> None:
    before = resources.process(os.getpid())
    held = [open(os.devnull) for _ in range(20)]  # noqa: SIM115 - they are to stay open
    # Its own mapping: what the allocator hands out may be resident already, left from an earlier test.
    with mmap.mmap(-1, 32 * 1024 * 1024, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as ballast:
        for page in range(0, len(ballast), mmap.PAGESIZE):
            ballast[page] = 1
        after = resources.process(os.getpid())
    for one in held:
        one.close()
    assert before is not None
    assert after is not None
    assert before.descriptors is not None
    assert after.descriptors is not None
    assert after.descriptors - before.descriptors == 20
    assert after.resident - before.resident > 16 * 1024 * 1024
    assert 0 < before.cpu <= after.cpu
    assert after.threads >= 1
    assert after.most_descriptors is None or after.most_descriptors >= after.descriptors


def test_another_process_is_seen_and_one_that_ended_is_not() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        found = resources.process(child.pid)
        assert found is not None
        assert found.resident > 0
    finally:
        child.communicate(b"\n")
    assert resources.process(child.pid) is None


def test_the_name_of_a_program_may_hold_anything(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    fields = "S 1 7 7 0 -1 0 9 0 0 0 150 50 0 0 20 0 3 0 100 9999 25"
    (tmp_path / "7" / "stat").write_text(f"7 (a) b (c 1 2) {fields} 18446744073709551615\n")
    found = resources.process(7, tmp_path)
    assert found == (
        200 / os.sysconf("SC_CLK_TCK"), 25 * os.sysconf("SC_PAGE_SIZE"), 3, None, None
    )  # fmt: skip


def test_the_machine_has_memory_and_its_processors_have_worked() -> None:
    host = resources.host()
    assert host is not None
    assert 0 < host.available <= host.memory
    assert host.cpu["user"] + host.cpu["system"] > 0
    assert len(host.load) == 3


@pytest.mark.parametrize("files", [{}, {"stat": "cpu\n"}, {"stat": "cpu x\n", "loadavg": "1", "meminfo": ""}])
def test_a_system_without_these_files_has_no_figures(tmp_path: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert resources.host(tmp_path) is None
    assert resources.process(1, tmp_path) is None


def test_the_disk_of_a_folder_that_is_not_there_yet_is_that_of_the_one_above(tmp_path: Path) -> None:
    found = resources.disk(tmp_path / "not" / "there")
    assert found is not None
    assert found.size == resources.disk(tmp_path).size  # type: ignore[union-attr]  # it is there
    assert 0 <= found.free <= found.size


def test_a_folder_that_cannot_be_looked_at_has_no_figures(tmp_path: Path) -> None:
    assert resources.disk(tmp_path / ("x" * 300)) is None
