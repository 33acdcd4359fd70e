"""What replicas share, as configured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RedisSettings:
    """The Redis that replicas share.

    Attributes:
        kind: server, sentinel, cluster or unix.
        nodes: addresses: of the server, of the sentinels, or of some nodes of the cluster; none for unix.
        path: of the unix socket, "" otherwise.
        master: the name that the sentinels know the server by, "" otherwise.
        database: the number of the database; a cluster has 0 only.
        user: the ACL user, None for the default one.
        tls: whether connections are encrypted and the server's certificate is checked.
        ca: a PEM file with the authorities that may have signed it; None: those of the system.
        password_env: the environment variable that holds the password; None: there is none.
    """

    kind: str
    nodes: tuple[tuple[str, int], ...] = ()
    path: str = ""
    master: str = ""
    database: int = 0
    user: str | None = None
    tls: bool = False
    ca: str | None = None
    password_env: str | None = None

    def __str__(self) -> str:
        """Its URL, which holds no secret."""
        if self.kind == "unix":
            return f"unix://{self.path}"
        scheme = ("rediss" if self.tls else "redis") + ("" if self.kind == "server" else f"+{self.kind}")
        hosts = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.nodes)
        return f"{scheme}://{hosts}{f'/{self.master}' if self.master else ''}"


@dataclass(frozen=True, slots=True)
class Sharing:
    """`redis` is None for a gateway that shares nothing; `replica` None: it is named after host and port."""

    redis: RedisSettings | None = None
    replica: str | None = None
