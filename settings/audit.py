"""Reading how the audit chain is signed and kept: the key, where heads go and how often, what is erased."""

from __future__ import annotations

from pathlib import PurePath

from settings import values
from settings.reader import Section
from settings.schema import AuditSettings

EVERY = 60.0
KEEP_ACCESS = 400 * 86_400.0
_SQLITE = "sqlite:///"


def audit(root: Section, database: str) -> AuditSettings:
    """What stands under `audit`; files without a name are beside the SQLite file `database`, or in `var`."""
    section = root.section("audit")
    key = section.take("key", values.text(1024), None)
    heads = section.take("heads", values.text(1024), None)
    every = section.take("every", values.duration("1s", "1d"), EVERY)
    keep_access = section.take("keep_access", values.duration("1h", "36500d"), KEEP_ACCESS)
    folder = PurePath("var")
    if database.startswith(_SQLITE):
        folder = PurePath(database.removeprefix(_SQLITE)).parent
    return AuditSettings(
        key=key or str(folder / "pointsman-audit.key"),
        heads=heads or str(folder / "pointsman-audit-heads.jsonl"),
        every=every,
        keep_access=keep_access,
    )
