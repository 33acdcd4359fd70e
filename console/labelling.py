"""`pointsman labels` and `pointsman accuracy`: what was really true, and what it says of every version."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console, Group, RenderableType
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from console.client import DEFAULT_ADMIN, AdminClient, Refused, Unreachable
from console.completion import endpoint_names
from console.label_files import Columns, Refusal, Row, rows
from console.text import moment, number, share, visible
from domain.errors import ConfigError

AT_ONCE = 5_000
"""Labels of one request."""
TIMEOUT = 60.0
PATIENCE = 60.0
"""Seconds for which a gateway may be away before an import gives up."""
PAUSE = 1.0
MOST_SHOWN = 20
MOST_KEPT = 10_000
"""Refusals that are held in memory, and told with --json; all of them stand in the file of --refusals."""

AdminOption = Annotated[
    str, typer.Option("--admin", envvar="POINTSMAN_ADMIN", metavar="URL", help="The gateway's admin API.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines, nothing else.")]

labels = typer.Typer(name="labels", help="Labels: what was really true of requests.", no_args_is_help=True)


class EndpointLabels(msgspec.Struct, frozen=True):
    endpoint: str
    joined: int
    unfit: int
    corrected: int
    newest_at: str


class UnknownLabels(msgspec.Struct, frozen=True):
    count: int
    newest: tuple[str, ...] = ()


class UnfitLabel(msgspec.Struct, frozen=True):
    request_id: str
    endpoint: str
    detail: str


class LabelsView(msgspec.Struct, frozen=True):
    """How labels stand, as the admin API answers it."""

    behind: int
    waiting: int
    unknown: UnknownLabels
    endpoints: tuple[EndpointLabels, ...] = ()
    unfit: tuple[UnfitLabel, ...] = ()
    failure: str | None = None


class AccuracyGroup(msgspec.Struct, frozen=True, rename={"since": "from", "until": "to"}):
    """Figures of one version, cohort and stretch of time; what cannot be told is null."""

    labels: int
    version: str | None = None
    cohort: str | None = None
    since: str | None = None
    until: str | None = None
    accuracy: float | None = None
    precision: float | None = None
    recall: float | None = None
    auc: float | None = None
    log_loss: float | None = None
    calibration_error: float | None = None
    mae: float | None = None
    rmse: float | None = None


class AccuracyReport(msgspec.Struct, frozen=True):
    endpoint: str
    by: tuple[str, ...]
    since: str
    until: str
    groups: tuple[AccuracyGroup, ...] = ()
    failure: str | None = None


class Import:
    """One file on its way. `reached` is the last row of which the gateway has said what became of it."""

    def __init__(self, client: AdminClient, refusals: Path | None, patience: float = PATIENCE) -> None:
        self.reached = 0
        self.counts: Counter[str] = Counter()
        self.refused: list[Refusal] = []
        self.conflicts: list[Refusal] = []
        self._client = client
        self._patience = patience
        self._file = None if refusals is None else refusals.open("w", encoding="utf-8")

    def close(self) -> None:
        """Close the file of refusals."""
        if self._file is not None:
            self._file.close()

    def refuse(self, one: Refusal) -> None:
        """Tell a row that is refused."""
        self.counts["refused"] += 1
        if len(self.refused) < MOST_KEPT:
            self.refused.append(one)
        if self._file is not None:
            self._file.write(json.dumps({"row": one.line, "detail": one.detail}, ensure_ascii=False) + "\n")

    def send(self, part: Sequence[Row]) -> None:
        """Send rows, and wait while the gateway is away or cannot keep them.

        Raises Unreachable and Refused when that takes longer than the patience.
        """
        answer = self._answered([one.body for one in part])
        lines = {str(one.body["request_id"]): one.line for one in part}
        for name in ("joined", "repeated", "corrected", "earlier"):
            self.counts[name] += int(answer.get(name, 0))
        self.counts["to_be_found"] += len(answer.get("unknown", ()))
        self.counts["sent"] += len(part)
        for one in answer.get("refused", ()):
            request = str(one.get("request_id"))
            self.refuse(Refusal(lines.get(request, 0), f"{request}: {one.get('detail')}"))
        for one in answer.get("conflicts", ()):
            request = str(one.get("request_id"))
            self.counts["conflicts"] += 1
            if len(self.conflicts) < MOST_KEPT:
                self.conflicts.append(
                    Refusal(
                        lines.get(request, 0), f"{request}: two labels of one moment; {one.get('detail')}"
                    )
                )
        self.reached = part[-1].line

    def _answered(self, body: Sequence[dict[str, object]]) -> dict[str, Any]:
        end = time.monotonic() + self._patience
        while True:
            try:
                answer = self._client.send_labels(body)
                if isinstance(answer, dict) and answer.get("kept"):
                    return answer
                error: Unreachable | Refused = Unreachable("the gateway's database is out of reach: not kept")
            except Unreachable as away:
                error = away
            except Refused as refused:
                if refused.status not in (429, 503):
                    raise
                error = refused
            if time.monotonic() > end:
                raise error
            time.sleep(min(PAUSE, self._patience))

    def told(self) -> dict[str, object]:
        """What became of the file, for machines."""
        return {
            **{name: self.counts[name] for name in (
                "sent", "joined", "to_be_found", "repeated", "corrected", "earlier", "conflicts", "refused",
            )},
            "rows": self.reached,
            "refusals": [one._asdict() for one in self.refused],
            "conflicting": [one._asdict() for one in self.conflicts],
        }  # fmt: skip

    def shown(self) -> RenderableType:
        """The same for people."""
        counts = self.counts
        table = Table(box=None, pad_edge=False, show_header=False)
        told = (
            ("sent", "sent"), ("held against remembered pairs", "joined"),
            ("to be found in the log", "to_be_found"), ("known already", "repeated"),
            ("correct an earlier label", "corrected"), ("older than what holds", "earlier"),
            ("conflicting", "conflicts"), ("refused", "refused"),
        )  # fmt: skip
        for words, name in told:
            table.add_row(words, str(counts[name]))
        parts: list[RenderableType] = [table]
        for title, found in (("refused", self.refused), ("conflicting", self.conflicts)):
            if found:
                parts.append(Text(f"{title} rows", "bold"))
                parts += [Text(f"  {one.line}: {visible(one.detail)}") for one in found[:MOST_SHOWN]]
                if len(found) > MOST_SHOWN:
                    parts.append(Text(f"  and {len(found) - MOST_SHOWN} more; --refusals FILE keeps them"))
        return Group(*parts)


def parts(found: Iterator[Row | Refusal], sending: Import, after: int, size: int) -> Iterator[list[Row]]:
    """Rows behind row `after`, in parts; a request stands once in a part, so that its line is known."""
    held: dict[str, Row] = {}
    for one in found:
        if one.line <= after:
            continue
        if isinstance(one, Refusal):
            sending.refuse(one)
            continue
        request = str(one.body["request_id"])
        if len(held) == size or request in held:
            yield list(held.values())
            held = {}
        held[request] = one
    if held:
        yield list(held.values())


@labels.command("import")
def import_labels(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="Parquet, CSV or JSON lines.", exists=True, dir_okay=False),
    ],
    request_id: Annotated[
        str, typer.Option("--request-id", metavar="COLUMN", help="The request's id.")
    ] = "request_id",
    label: Annotated[str, typer.Option("--label", metavar="COLUMN", help="What was true.")] = "label",
    at: Annotated[
        str, typer.Option("--at", metavar="COLUMN", help="When it became known; may be missing.")
    ] = "at",
    texts: Annotated[
        bool, typer.Option("--texts", help="Labels in CSV are texts, also those that look like numbers.")
    ] = False,
    after: Annotated[int, typer.Option("--after", min=0, metavar="ROW", help="Go on behind this row.")] = 0,
    refusals: Annotated[
        Path | None, typer.Option("--refusals", metavar="FILE", help="Write what is refused, as JSON lines.")
    ] = None,
    admin: AdminOption = DEFAULT_ADMIN,
    as_json: JsonOption = False,
) -> None:
    """Send a file of labels. Sending it again does no harm. Exit code 1: some were refused."""
    from console import app as main  # which adds these commands to its own

    reached = after
    try:
        with AdminClient(admin, timeout=TIMEOUT) as client:
            sending = Import(client, refusals)
            try:
                columns = Columns(request_id, label, at, texts)
                with _progress() as bar:
                    task = bar.add_task(visible(file.name), total=1.0)
                    found = rows(file, columns, lambda part: bar.update(task, completed=part))
                    for part in parts(found, sending, after, AT_ONCE):
                        sending.send(part)
                        reached = sending.reached
                    bar.update(task, completed=1.0)
            finally:
                sending.close()
    except ConfigError as error:
        raise typer.BadParameter(f"{error.value!r}: {error.allowed}", param_hint=error.path) from error
    except (Unreachable, Refused) as error:
        code = main.UNREACHABLE if isinstance(error, Unreachable) else main.REFUSED
        if as_json:
            main._print_json({**sending.told(), "rows": reached, "failure": str(error)})
        raise main._failure(f"{error}\ngo on with --after {reached}", code) from error
    if as_json:
        main._print_json(sending.told())
    else:
        main._show(sending.shown())
    if sending.counts["refused"]:
        raise typer.Exit(main.REFUSED)


def _progress() -> Progress:
    """On standard error, and only where somebody looks."""
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn(),
        console=console, disable=not console.is_terminal, transient=True,
    )  # fmt: skip


@labels.command("status")
def status(admin: AdminOption = DEFAULT_ADMIN, as_json: JsonOption = False) -> None:
    """How many labels were joined, how many wait for their record, and which do not fit."""
    from console import app as main

    answer = main._ask(admin, lambda client: client.labels(), as_json)
    if as_json:
        main._print_json(answer)
        return
    main._show(standing(main._read(answer, LabelsView)))


def standing(view: LabelsView) -> RenderableType:
    """How labels stand."""
    parts: list[RenderableType] = []
    if view.failure:
        parts.append(Text(f"labels are not joined: {visible(view.failure)}", "bold red"))
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("endpoint", "joined", "unfit", "corrected", "newest"):
        table.add_column(heading, overflow="fold")
    for one in view.endpoints:
        table.add_row(
            Text(visible(one.endpoint)), str(one.joined), str(one.unfit), str(one.corrected),
            moment(one.newest_at),
        )  # fmt: skip
    parts.append(table if view.endpoints else Text("no label was joined yet"))
    parts.append(
        Text(
            f"{view.waiting} wait for their record, {view.unknown.count} of them for more than a minute; "
            f"{view.behind} not looked at yet"
        )
    )
    parts += [Text(f"  no record of {visible(one)}") for one in view.unknown.newest[:MOST_SHOWN]]
    parts += [
        Text(f"  {visible(one.request_id)} ({visible(one.endpoint)}): {visible(one.detail)}")
        for one in view.unfit[:MOST_SHOWN]
    ]
    return Group(*parts)


def accuracy(
    name: Annotated[
        str,
        typer.Argument(
            metavar="ENDPOINT",
            help="The endpoint's name in the configuration.",
            autocompletion=endpoint_names,
        ),
    ],
    by: Annotated[
        str, typer.Option("--by", metavar="LIST", help="Some of version, cohort, time.")
    ] = "version",
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="ISO 8601; seven days ago without it.")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="TIME", help="ISO 8601; now without it.")
    ] = None,
    admin: AdminOption = DEFAULT_ADMIN,
    as_json: JsonOption = False,
) -> None:
    """How right every version is, by the labels that came: by version, cohort and time."""
    from console import app as main

    answer = main._ask(admin, lambda client: client.accuracy(name, by, since, until), as_json)
    if as_json:
        main._print_json(answer)
        return
    main._show(reported(main._read(answer, AccuracyReport)))


def reported(view: AccuracyReport) -> RenderableType:
    """Figures, a line a group."""
    head = Text(f"{visible(view.endpoint)}, {moment(view.since)} to {moment(view.until)}")
    if not view.groups:
        return Group(head, Text("no labels of that time; 'pointsman labels status' shows what came"))
    numbers = any(one.mae is not None for one in view.groups)
    table = Table(box=None, pad_edge=False, header_style="dim")
    figures = (
        ("MAE", "RMSE")
        if numbers
        else ("accuracy", "precision", "recall", "AUC", "log loss", "calibration error")
    )
    for heading in (*view.by, "labels", *figures):
        table.add_column(heading, overflow="fold")
    for one in view.groups:
        cells: list[RenderableType] = []
        for name in view.by:
            told = {"version": one.version, "cohort": one.cohort or "all", "time": moment(one.since)}[name]
            cells.append(Text(visible(told or "")))
        cells.append(Text(str(one.labels)))
        if numbers:
            cells += [Text(number(one.mae)), Text(number(one.rmse))]
        else:
            shares = (one.accuracy, one.precision, one.recall)
            cells += [Text("–" if value is None else share(value)) for value in shares]
            cells += [Text(number(value)) for value in (one.auc, one.log_loss, one.calibration_error)]
        table.add_row(*cells)
    return Group(head, table)
