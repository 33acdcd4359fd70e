"""The audit chain for people: what was live, whether the chain is whole, and exports of it.

Verification happens here, on this machine, on the very bytes that were hashed: who verifies trusts neither
the gateway nor its database, only the heads that were kept elsewhere, and the key that signed them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import msgspec
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from audit import event, heads, keys, pages, store
from audit.chain import Verification, Verified
from audit.heads import Head, HeadError
from console.text import share, visible
from domain.errors import ConfigError, StateUnavailable
from storage.database import Database

_AT_ONCE = 5000


class KillLine(msgspec.Struct, frozen=True):
    id: str
    since: str
    actor: str
    reason: str
    version: str = ""


class SwitchLine(msgspec.Struct, frozen=True):
    tripped: bool
    kills: tuple[KillLine, ...] = ()
    more: int = 0


class VersionLine(msgspec.Struct, frozen=True):
    version: str
    lineage: dict[str, object] | None = None


class FlagLine(msgspec.Struct, frozen=True):
    name: str
    enabled: bool = False


class EndpointLine(msgspec.Struct, frozen=True):
    endpoint: str
    replica: str
    since: str
    silent_since: str | None = None
    incumbent: VersionLine | None = None
    candidate: VersionLine | None = None
    mode: str | None = None
    weight: float | None = None
    flag: FlagLine | None = None
    switch: SwitchLine = SwitchLine(False)
    configuration: str | None = None


class EventLine(msgspec.Struct, frozen=True):
    sequence: int
    at: str
    action: str
    name: str
    actor: str
    reason: str = ""
    late: bool = False


class LiveView(msgspec.Struct, frozen=True):
    at: str
    endpoints: tuple[EndpointLine, ...] = ()
    events: tuple[EventLine, ...] = ()


def live(view: LiveView) -> RenderableType:
    """What was live, and the records that made it so."""
    if not view.endpoints:
        return Text(f"nothing was live at {visible(view.at)}: no gateway served")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in (
        "endpoint",
        "gateway",
        "switch",
        "incumbent",
        "candidate",
        "mode",
        "weight",
        "flag",
        "since",
    ):
        table.add_column(column)
    for one in view.endpoints:
        tripped = Text("TRIPPED", "bold red") if one.switch.tripped else Text("armed", "green")
        flag = "–" if one.flag is None else f"{one.flag.name} {'on' if one.flag.enabled else 'off'}"
        weight = "–" if one.weight is None else share(one.weight)
        table.add_row(
            _cell(one.endpoint), _gateway(one), tripped, _version(one.incumbent),
            _version(one.candidate), _cell(one.mode or "–"), _cell(weight), _cell(flag), _cell(one.since),
        )  # fmt: skip
    parts: list[RenderableType] = [Text(f"live at {visible(view.at)}", "bold"), table]
    for one in view.endpoints:
        parts += [
            _cell(f"  {one.endpoint}: killed {kill.since} by {kill.actor}: {kill.reason} ({kill.id})")
            for kill in one.switch.kills
        ]
        parts += [
            _cell(f"  {version.version}: {_made_of(version.lineage)}")
            for version in (one.incumbent, one.candidate)
            if version is not None and version.lineage is not None
        ]
    digests = sorted({one.configuration for one in view.endpoints if one.configuration})
    parts.append(_cell(f"configuration {', '.join(digests)}"))
    parts.append(Text("by these records", "bold"))
    parts += [
        _cell(f"  {one.sequence}  {one.at}  {one.action} {one.name}  {one.actor}  {one.reason}")
        for one in view.events
    ]
    return Group(*parts)


def _made_of(lineage: dict[str, object]) -> str:
    found = [f"{name} {lineage[name]}" for name in ("source", "version", "commit") if lineage.get(name)]
    datasets = lineage.get("datasets")
    found += [_data(one) for one in (datasets if isinstance(datasets, list) else []) if isinstance(one, dict)]
    return ", ".join(found) or "nothing is known of what it was made of"


def _data(one: dict[str, object]) -> str:
    return f"data {one.get('name')} {one.get('version') or ''} {one.get('digest') or ''}".rstrip()


def _version(one: VersionLine | None) -> Text:
    if one is None:
        return Text("–")
    return _cell(one.version if one.lineage is not None else f"{one.version} (no lineage)")


def _gateway(one: EndpointLine) -> Text:
    named = _cell(one.replica)
    if one.silent_since is not None:
        named.append(visible(f" (silent since {one.silent_since})"), "yellow")
    return named


def _cell(text: str) -> Text:
    return Text(visible(text))


# Verification.


def read_heads(path: Path | None, key: Path | None) -> tuple[Head, ...]:
    """The signed heads in the file at `path`, none without one. Raises ConfigError."""
    if path is None:
        return ()
    trusted = () if key is None else (keys.public(key),)
    try:
        with path.open("rb") as file:
            return heads.read(file, trusted)
    except HeadError as error:
        raise ConfigError("--heads", str(path), f"{error}: these heads cannot be relied upon") from error
    except OSError as error:
        raise ConfigError("--heads", str(path), f"it cannot be read: {error.strerror}") from error


def verify_lines(lines: Iterable[bytes], known: Sequence[Head], name: str) -> Verified:
    """Verify an export. Raises BrokenChain, and ConfigError for what is no export."""
    verification = Verification(known)
    numbered = enumerate(lines, 1)
    while part := list(islice(numbered, _AT_ONCE)):
        rows: list[tuple[bytes | None, bytes]] = []
        for number, line in part:
            try:
                rows.append(event.read_line(line))
            except ValueError as error:
                verification.read(rows)
                raise ConfigError(f"{name}, line {number}", visible(str(line[:40])), str(error)) from error
        verification.read(rows)
    return verification.end()


def verify_file(path: Path, known: Sequence[Head]) -> Verified:
    """Verify the export in the file at `path`. Raises BrokenChain and ConfigError."""
    try:
        with path.open("rb") as file:
            return verify_lines(file, known, str(path))
    except OSError as error:
        raise ConfigError("--file", str(path), f"it cannot be read: {error.strerror}") from error


def verify_database(url: str, known: Sequence[Head]) -> Verified:
    """Verify the chain in the database at `url`, without a gateway. Raises BrokenChain, StateUnavailable."""
    if url.startswith("sqlite:///") and not Path(url.removeprefix("sqlite:///")).exists():
        raise StateUnavailable(f"{url}: there is no such file")
    database = Database.open(url)
    try:
        return store.verify(database, known)
    finally:
        database.close()


def export_database(url: str) -> Iterator[bytes]:
    """The lines of an export of the database at `url`. Raises StateUnavailable."""
    database = Database.open(url)
    try:
        after, last = 0, database.read(store.tip).size
        while after < last:
            found = database.read(partial(pages.rows, after=after, most=_AT_ONCE))
            if not found:
                return
            for number, content, hashed in found:
                if number <= last:
                    yield event.export_line(content, hashed) + b"\n"
            after = found[-1][0]
    finally:
        database.close()


def sentence(found: Verified, known: Sequence[Head]) -> Text:
    """What was verified, and what only a signed head could have shown."""
    lines = [f"{found.size} records, each whole and in its place; the last hash is {found.chain.hex()}"]
    if known:
        covered = max(head.size for head in known)
        lines.append(
            f"it leads through {found.heads} signed heads, the last of which covers {covered} records "
            f"(key {', '.join(sorted({heads.fingerprint(head.key) for head in known}))})"
        )
    else:
        lines.append(
            "no heads were given: records cut off at the end, or a chain that was worked out anew, "
            "would not be seen; verify with --heads"
        )
    if found.erased:
        lines.append(f"{found.erased} records have no content any more: their time was over")
    return Text("\n".join(lines))


def copy(lines: Iterable[bytes], out: BinaryIO) -> int:
    """Write `lines`; how many bytes."""
    return sum(out.write(line) for line in lines)
