"""Who may use the admin API, as values."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from domain.role import EVERYWHERE, Grants, Role

ALGORITHMS = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519", "EdDSA",
)  # fmt: skip
"""Signatures by a private key alone (RFC 7518, RFC 8037): with a shared secret every verifier could issue."""


@dataclass(frozen=True, slots=True)
class RoleRule:
    """Whoever's claim holds `value` has `role` on `endpoints`; `EVERYWHERE` among them stands for all."""

    value: str
    role: Role
    endpoints: tuple[str, ...] = (EVERYWHERE,)

    def grants(self) -> Grants:
        """What the rule gives."""
        return Grants(dict.fromkeys(self.endpoints, self.role))


@dataclass(frozen=True, slots=True)
class OidcSettings:
    """An OpenID Connect issuer. Secrets stand in the environment, never here.

    Attributes:
        issuer: its URL, as it stands in `iss`.
        client_id: what it calls us; the audience of ID tokens.
        client_secret_env: the environment variable with our secret there; None: PKCE alone proves us.
        audience: the audience of bearer tokens for the API.
        algorithms: the signatures that are accepted.
        skew: seconds that its clock and ours may differ.
        name_claim: the claim that holds a person's name.
        roles_claim: the claim that holds values of `roles`; parts are separated by dots.
        scopes: what is asked for at log-in.
        roles: what its values give.
    """

    issuer: str
    client_id: str
    client_secret_env: str | None = None
    audience: str = ""
    algorithms: tuple[str, ...] = ("RS256", "ES256", "PS256", "Ed25519", "EdDSA")
    skew: float = 60.0
    name_claim: str = "sub"
    roles_claim: str = "groups"
    scopes: tuple[str, ...] = ("openid", "profile", "email")
    roles: tuple[RoleRule, ...] = ()


@dataclass(frozen=True, slots=True)
class AuthSettings:
    """Who may use the admin API.

    Attributes:
        tokens_file: the file with the tokens' digests; None: there are none.
        oidc: who else vouches for people; None: nobody.
        url: how browsers reach the admin port; None: by its own address.
        behind_loopback: whether the port, wherever it listens, is reached through our loopback only.
        open_metrics: whether /metrics is shown to everybody.
        idle: seconds without a request after which a session ends.
        longest: seconds after which every session ends.
        certificate, key: PEM files that the admin port serves TLS with; None: it does not.
    """

    tokens_file: str | None = None
    oidc: OidcSettings | None = None
    url: str | None = None
    open_metrics: bool = False
    idle: float = 1800.0
    longest: float = 43_200.0
    certificate: str | None = None
    key: str | None = None
    behind_loopback: bool = False

    @property
    def configured(self) -> bool:
        """Whether anybody is asked who they are."""
        return self.tokens_file is not None or self.oidc is not None

    @property
    def rules(self) -> str:
        """What stands for whom the issuer vouches for, and what its values give: another text for others."""
        oidc = self.oidc
        if oidc is None:
            return ""
        parts = (oidc.issuer, oidc.name_claim, oidc.roles_claim, oidc.roles)
        return sha256(repr(parts).encode()).hexdigest()

    @property
    def secure(self) -> bool:
        """Whether browsers reach the admin port by TLS."""
        return self.certificate is not None or (self.url or "").startswith("https:")
