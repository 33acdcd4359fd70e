"""References: where a version's lineage is written down, as one line of text in a configuration."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import Final


class Registry(enum.StrEnum):
    """Where a record of lineage can be kept."""

    FILE = "file"
    MLFLOW = "mlflow"
    HUGGINGFACE = "huggingface"
    DVC = "dvc"
    DELTA = "delta"
    WANDB = "wandb"
    NEPTUNE = "neptune"


@dataclass(frozen=True, slots=True)
class Reference:
    """Where a record is found.

    Attributes:
        registry: what kind of registry keeps it.
        name: of the record, the registered model, the repository, the stage, the table or the run there.
        revision: which version of it: an MLflow version, or an alias with its `@`; a revision of a Hugging
            Face or git repository; the version of a table; "" for the newest, or where there are none.
    """

    registry: Registry
    name: str
    revision: str = ""

    def __str__(self) -> str:
        if self.registry is Registry.MLFLOW and not self.revision.startswith("@"):
            return f"models:/{self.name}/{self.revision}"
        mark = "@" if self.revision and not self.revision.startswith("@") else ""
        return f"{_SCHEMES[self.registry]}{self.name}{mark}{self.revision}"

    @property
    def moves(self) -> bool:
        """Whether it may name another version tomorrow: an alias, a branch, the newest."""
        match self.registry:
            case Registry.MLFLOW:
                return self.revision.startswith("@")
            case Registry.HUGGINGFACE | Registry.DVC:
                return _COMMIT.fullmatch(self.revision) is None
            case Registry.DELTA:
                return not self.revision
            case _:
                return False


_SCHEMES: Final = {
    Registry.FILE: "file:",
    Registry.MLFLOW: "models:/",
    Registry.HUGGINGFACE: "hf://",
    Registry.DVC: "dvc:",
    Registry.DELTA: "delta:",
    Registry.WANDB: "wandb:",
    Registry.NEPTUNE: "neptune:",
}
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_WORD = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}"
_REVISION = r"[A-Za-z0-9_][A-Za-z0-9._/+-]{0,199}"
_RUN = re.compile(rf"(?P<name>{_WORD}/{_WORD}/{_WORD})")
_PATTERNS: Final = {
    Registry.FILE: (re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,127})"), "file:NAME"),
    Registry.MLFLOW: (
        re.compile(
            r"(?P<name>[^\s/:@?#](?:[^/:@?#]{0,254}[^\s/:@?#])?)(?P<revision>@[A-Za-z0-9_-]{1,255}|/[0-9]{1,9})"
        ),
        "models:/NAME@ALIAS or models:/NAME/VERSION",
    ),
    Registry.HUGGINGFACE: (
        re.compile(rf"(?P<name>{_WORD}(?:/{_WORD})?)(?:@(?P<revision>{_REVISION}))?"),
        "hf://OWNER/NAME@REVISION",
    ),
    Registry.DVC: (
        re.compile(
            rf"(?P<name>(?:(?:{_WORD}/){{0,16}}dvc\.lock:)?{_WORD}(?:@{_WORD})?)@(?P<revision>{_REVISION})"
        ),
        "dvc:STAGE@REVISION or dvc:FOLDER/dvc.lock:STAGE@REVISION",
    ),
    Registry.DELTA: (
        re.compile(rf"(?P<name>{_WORD})(?:@(?P<revision>[0-9]{{1,18}}))?"),
        "delta:TABLE@VERSION",
    ),
    Registry.WANDB: (_RUN, "wandb:ENTITY/PROJECT/RUN"),
    Registry.NEPTUNE: (_RUN, "neptune:WORKSPACE/PROJECT/RUN"),
}
_DEFAULTS: Final = {Registry.HUGGINGFACE: "main"}


def reference(text: object, registry: Registry = Registry.FILE) -> Reference:
    """The reference that `text` writes; without a scheme it is one of `registry`.

    Raises ValueError, which says what is allowed.

    >>> str(reference("rain@champion", Registry.MLFLOW)), str(reference("hf://acme/rain"))
    ('models:/rain@champion', 'hf://acme/rain@main')
    """
    if not isinstance(text, str) or not text.isprintable():
        raise ValueError(f"write where the record is, such as {_PATTERNS[registry][1]}")
    rest = text
    for one, scheme in _SCHEMES.items():
        if text.startswith(scheme):
            registry, rest = one, text.removeprefix(scheme)
            break
    pattern, form = _PATTERNS[registry]
    found = pattern.fullmatch(rest)
    if found is None or ".." in rest:
        raise ValueError(f"write {form}")
    parts = found.groupdict()
    revision = (parts.get("revision") or _DEFAULTS.get(registry, "")).removeprefix("/")
    return Reference(registry, parts["name"], revision)
