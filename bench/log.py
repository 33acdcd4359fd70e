"""Scenario `log`: what the prediction log costs, its own process and the worker that hands over.

The keeper's part is measured in this process: batches as a worker makes them, of small V2 bodies, go the
whole way, from the frame to the record, to SQLite (committed and synced), and on to Parquet. The figure is
CPU time, all threads together, so that a busy machine changes little.

The worker's part is measured by gateways that differ in `log.records` alone and take turns under one load.
`python -m bench.log` is the keeper's part alone.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from bench import cpu
from bench.bed import Bed, accelerator_is_built
from bench.pointsman import Pointsman, Setup, configuration
from bench.process import BenchError, children, command_line, pin
from bench.report import Goal, Section, microseconds
from bench.side_by_side import NOT_BUILT
from bench.traffic import answer, requests
from domain.snapshot import Recording
from monitoring.log import rolling
from monitoring.log.interpreter import Interpreter
from monitoring.log.reading import LogReader
from monitoring.log.wire import Context, Entry, Records, decode_to_log, frame
from monitoring.log.wire import Section as Requests
from monitoring.log.writer import Bounds, Delivery, LogWriter
from settings.parse import parse
from settings.snapshot import boot

DIFFERENT = 2000
BATCH = 500
"""Records in a batch: fifty milliseconds at ten thousand a second."""
FASTEST = 10_000
"""Records a second that one core has to keep."""
MOST = 1.2
"""What a worker's request may cost with the log over what it costs without."""
OFF, ON = "log off", "log on"


@dataclass(frozen=True, slots=True)
class Keeping:
    """CPU seconds a record, by step; `bytes` a record as SQLite and as Parquet; seconds to find one there."""

    read: float
    commit: float
    roll: float
    sqlite_bytes: float
    parquet_bytes: float
    find_sqlite: float
    find_parquet: float

    @property
    def total(self) -> float:
        return self.read + self.commit + self.roll


def batches(folder: Path, count: int) -> list[bytes]:
    """Frames as a worker sends them, `count` records in all."""
    document = configuration(Setup(1, 2, ({"mode": "shadow"},), records="on"), folder, 1, 2)
    (endpoint,) = boot(parse(document)).endpoints
    recording = endpoint.record
    if not isinstance(recording, Recording):
        raise BenchError("nothing is recorded")
    context = Context(endpoint.name, 7, "d" * 64, endpoint.incumbent.name, "bench-2", "", recording.reading)
    bodies = [request.partition(b"\r\n\r\n")[2] for request in requests(DIFFERENT)]
    answers = [answer("bench-1", number / DIFFERENT) for number in range(DIFFERENT)]
    frames = []
    for first in range(0, count, BATCH):
        entries = [
            Entry(
                b"%016x-%x" % (9, number), 1.7e9 + number / 1e4, f"user-{number}", False, 200, 0.002,
                "shadow stage", bodies[number % DIFFERENT], "", answers[number % DIFFERENT], "", (), None,
            )
            for number in range(first, first + BATCH)
        ]  # fmt: skip
        frames.append(frame(Records("bench", 1 + first // BATCH, [Requests(context, entries)], [])))
    return frames


def keeping(folder: Path, count: int) -> Keeping:
    """What the log's process does with so many records. Raises BenchError when one of them is not found."""
    frames = batches(folder, count)
    place = folder / "predictions"
    interpreter = Interpreter(b"k" * 32)
    writer = LogWriter(place, Bounds(1e9, 2**40, 1e9), 1.7e9)
    read = commit = 0.0
    for data in frames:
        began = time.process_time()
        message = decode_to_log(data[4:])
        if not isinstance(message, Records):
            raise BenchError("this is no batch")
        (section,) = message.sections
        records = [interpreter.record(section.context, entry)[0] for entry in section.entries]
        made = time.process_time()
        writer.keep([Delivery(message.session, message.sequence, records)], 1.7e9)
        read += made - began
        commit += time.process_time() - made
    sqlite_bytes = sum(writer.sizes().values())
    reader, wanted = LogReader(place), f"{9:016x}-{count // 2:x}"
    find_sqlite = _found(reader, wanted)
    number = writer.number
    writer.close()
    began = time.process_time()
    rolling.roll(place, number)
    roll = time.process_time() - began
    _found(reader, wanted)  # what is imported for it is imported once
    find_parquet = _found(reader, wanted)
    parquet_bytes = sum(path.stat().st_size for path in place.glob("*.parquet"))
    return Keeping(
        read / count, commit / count, roll / count, sqlite_bytes / count, parquet_bytes / count, find_sqlite,
        find_parquet,
    )  # fmt: skip


def _found(reader: LogReader, request_id: str) -> float:
    """CPU seconds until it is found."""
    began = time.process_time()
    record = reader.find(request_id)
    if record is None or len(record.features) != 12 or not record.predictions:
        raise BenchError(f"{request_id} was not found whole: {record}")
    return time.process_time() - began


def run(directory: Path, *, quick: bool, peers: Sequence[str] = ()) -> Section:
    """The scenario."""
    rounds, seconds = (5, 1) if quick else (15, 2)
    directory.mkdir(parents=True)
    kept = keeping(directory / "keeping", 20_000 if quick else 100_000)
    with ExitStack() as stack:
        bed = Bed(directory / "bed", stack, ())
        incumbent, candidate = bed.small_model_servers()
        plan = ({"mode": "canary", "weight": "10%"},)
        setup = Setup(incumbent, candidate, plan, rollout=50, accelerated=accelerator_is_built())
        subjects = []
        for name, records in ((OFF, "off"), (ON, "on")):
            folder = bed.directory / name.replace(" ", "-")
            gateway = stack.enter_context(Pointsman(replace(setup, records=records), folder, core=bed.core))
            gateway.place_control(bed.load_core)
            for pid in children(gateway.child.pid):
                if "control.recording" in command_line(pid):
                    pin(pid, bed.load_core)
            (worker,) = gateway.worker_pids()
            subjects.append(cpu.Subject(name, gateway.port, worker))
        for subject in subjects:
            cpu.measure(subject, bed.load(1))
        samples = cpu.take_turns(subjects, rounds, bed.load(seconds))
        lost = gateway.metric("pointsman_log_dropped_total")
        came = gateway.metric("pointsman_log_records_total", 'outcome="kept"')
    without, with_log = ([one.cpu for one in cpu.of(samples, name)] for name in (OFF, ON))
    ratio = cpu.median_ratio(with_log, without)
    return Section(
        name="log",
        title="The prediction log: its process, and the worker that hands over to it",
        columns=("", "µs CPU"),
        rows=(
            ("a record read (features, prediction, digest)", microseconds(kept.read)),
            ("committed to SQLite, synced", microseconds(kept.commit)),
            ("rolled into Parquet", microseconds(kept.roll)),
            ("a record in all", microseconds(kept.total)),
            ("finding one in SQLite", microseconds(kept.find_sqlite)),
            ("finding one in Parquet", microseconds(kept.find_parquet)),
            ("a request in the worker, log off", microseconds(sorted(without)[len(without) // 2])),
            ("a request in the worker, log on", microseconds(sorted(with_log)[len(with_log) // 2])),
        ),
        goals=(
            Goal("the log's CPU a record", kept.total * 1e6, 1e6 / FASTEST, " µs"),
            Goal("CPU a request in the worker, log on over off", ratio, MOST),
        ),
        remarks=(
            f"{kept.sqlite_bytes:.0f} bytes a record in SQLite, {kept.parquet_bytes:.0f} in Parquet",
            f"of the gateway with the log {came:.0f} records were kept, {lost:.0f} lost",
            *(() if accelerator_is_built() else (NOT_BUILT,)),
        ),
        raw={"keeping": asdict(kept), "samples": [asdict(one) for one in samples]},
    )


def main() -> None:
    """The keeper's part alone."""
    with tempfile.TemporaryDirectory() as folder:
        kept = keeping(Path(folder), 50_000)
    print(json.dumps(asdict(kept) | {"records_a_second": 1 / kept.total}, indent=1))


if __name__ == "__main__":
    main()
