"""Where lineage comes from, as frozen types."""

from __future__ import annotations

from dataclasses import dataclass

from domain.reference import Registry


@dataclass(frozen=True, slots=True)
class RegistryServer:
    """A registry that is asked over HTTP. Secrets stand in the environment, never here.

    Attributes:
        url: its base URL, without a slash at the end.
        token_env: the environment variable that holds the token or password; None: it is asked without.
        user: with it the secret is a password (HTTP Basic), without it a bearer token.
    """

    url: str
    token_env: str | None = None
    user: str | None = None


HUB = RegistryServer("https://huggingface.co")


@dataclass(frozen=True, slots=True)
class RegistrySettings:
    """The registries that references may name.

    Attributes:
        source: which one a reference without a scheme is of.
        path: the lineage file.
        poll: seconds between two looks.
        dvc: the folder of a git repository with `dvc.lock`.
        delta: (name, location) of Delta Lake tables.
        wandb: None: runs of Weights & Biases are kept as references.
    """

    source: Registry = Registry.FILE
    path: str | None = None
    poll: float = 5.0
    mlflow: RegistryServer | None = None
    huggingface: RegistryServer = HUB
    dvc: str | None = None
    delta: tuple[tuple[str, str], ...] = ()
    wandb: RegistryServer | None = None

    def lacks(self, registry: Registry) -> str | None:
        """The key that has to be given before references to `registry` mean something; None: none."""
        given: dict[Registry, tuple[str, object]] = {
            Registry.FILE: ("registry.path", self.path),
            Registry.MLFLOW: ("registry.mlflow.url", self.mlflow),
            Registry.DVC: ("registry.dvc.repository", self.dvc),
            Registry.DELTA: ("registry.delta.tables", self.delta),
        }
        key, value = given.get(registry, ("", True))
        return None if value else key
