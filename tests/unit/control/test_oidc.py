"""Tokens of an issuer: the true ones are believed, each kind of forgery is refused, keys come and go."""

from __future__ import annotations

import asyncio
import hmac
import json
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from joserfc.errors import SecurityWarning
from joserfc.jwk import OctKey, RSAKey

from control.clock import Clock
from control.identity import Identity, Unauthenticated
from control.oidc import REFETCH, Issuer
from domain.errors import StateUnavailable
from domain.role import Role
from settings.access import OidcSettings, RoleRule
from tests.support.issuer import (
    AUDIENCE,
    NOW,
    URL,
    FakeIssuer,
    claims,
    ec_key,
    okp_key,
    part,
    rsa_key,
    signed,
)

SETTINGS = OidcSettings(
    issuer=URL,
    client_id=AUDIENCE,
    audience=AUDIENCE,
    roles=(RoleRule("ops", Role.OPERATOR), RoleRule("rain", Role.RELEASE, ("rain",))),
)


class Time:
    """Both clocks, moved by hand."""

    def __init__(self) -> None:
        self.now = NOW

    @property
    def clock(self) -> Clock:
        return Clock(wall=lambda: self.now, monotonic=lambda: self.now)


def _issuer(fake: FakeIssuer, time: Time | None = None, settings: OidcSettings = SETTINGS) -> Issuer:
    return Issuer(settings, "", (time or Time()).clock, fake.transport)


def _who(token: str, fake: FakeIssuer | None = None, settings: OidcSettings = SETTINGS) -> Identity:
    return asyncio.run(_issuer(fake or FakeIssuer(), settings=settings).bearer(token))


@pytest.mark.parametrize(
    ("key", "algorithm"), [(rsa_key, "RS256"), (rsa_key, "PS256"), (ec_key, "ES256"), (okp_key, "EdDSA")]
)
@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")  # EdDSA: RFC 9864
def test_a_token_of_the_issuer_says_who_it_is_and_what_they_may(
    key: Callable[[], Any], algorithm: str
) -> None:
    who = _who(signed(key(), algorithm, groups=["ops", "rain", "nothing"]))
    assert (who.name, who.authentication) == ("ada", f"oidc:{URL}")
    assert who.permits(Role.OPERATOR)
    assert who.permits(Role.RELEASE, "rain")
    assert not who.permits(Role.RELEASE, "wind")
    assert who.expires == NOW + 300


def _by_hand(header: dict[str, Any], sign: Callable[[bytes], bytes], **more: Any) -> str:
    text = f"{part(header)}.{part(claims(**more))}"
    return f"{text}.{urlsafe_b64encode(sign(text.encode())).rstrip(b'=').decode()}"


def _confused() -> str:
    """HS256 with the issuer's public key as the secret."""
    secret = rsa_key().as_pem(private=False)
    header = {"alg": "HS256", "kid": "one"}
    return _by_hand(header, lambda text: hmac.digest(secret, text, "sha256"))


def _confused_by_numbers() -> str:
    secret = json.dumps(rsa_key().as_dict(private=False)).encode()
    return _by_hand({"alg": "HS256", "kid": "one"}, lambda text: hmac.digest(secret, text, "sha256"))


def _of_a_stranger(**header: Any) -> str:
    """Signed by a key that the token itself brings, or points to."""
    stranger = RSAKey.generate_key(2048, {"kid": "one"})
    public = stranger.as_dict(private=False)
    found = {name: public if value == "KEY" else value for name, value in header.items()}
    return _raw(stranger, {"alg": "RS256", "kid": "one", **found})


def _raw(key: Any, header: dict[str, Any], algorithm: str = "RS256", **more: Any) -> str:
    """Signed by the key itself, whatever a library would say to the header."""
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.hashes import SHA256

    return _by_hand(header, lambda text: bytes(key.private_key.sign(text, PKCS1v15(), SHA256())), **more)


def _swapped() -> str:
    head, _, signature = signed().split(".")
    return f"{head}.{part(claims(sub='eve'))}.{signature}"


FORGED: dict[str, Callable[[], str]] = {
    "alg none": lambda: _by_hand({"alg": "none", "kid": "one"}, lambda text: b""),
    "alg None in another case": lambda: _by_hand({"alg": "nOnE", "kid": "one"}, lambda text: b""),
    "no alg": lambda: _raw(rsa_key(), {"kid": "one"}),
    "HS256 with the public key": _confused,
    "HS256 with the public key as numbers": _confused_by_numbers,
    "HS256 with no secret": lambda: _by_hand(
        {"alg": "HS256", "kid": "one"}, lambda text: hmac.digest(b"", text, "sha256")
    ),
    "an algorithm that is not on the list": lambda: signed(algorithm="RS384"),
    "alg of another key type": lambda: _raw(rsa_key(), {"alg": "ES256", "kid": "one"}),
    "its own key in jwk": lambda: _of_a_stranger(jwk="KEY"),
    "a key at jku": lambda: _of_a_stranger(jku="https://evil.example/keys"),
    "a certificate at x5u": lambda: _of_a_stranger(x5u="https://evil.example/chain.pem"),
    "a certificate in x5c": lambda: _of_a_stranger(x5c=["MIIB"]),
    "a stranger's key under a known kid": _of_a_stranger,
    "an unknown kid": lambda: signed(header={"kid": "nobody"}),
    "no kid, and several keys": lambda: signed(header={"kid": None}),
    "a kid that leads elsewhere": lambda: signed(header={"kid": "../../etc/passwd"}),
    "a kid that is no text": lambda: _raw(rsa_key(), {"alg": "RS256", "kid": ["one"]}),
    "crit that nobody knows": lambda: _raw(rsa_key(), {"alg": "RS256", "kid": "one", "crit": ["x"], "x": 1}),
    "an unencoded payload": lambda: _raw(
        rsa_key(), {"alg": "RS256", "kid": "one", "crit": ["b64"], "b64": False}
    ),
    "other claims under the same signature": _swapped,
    "the signature left out": lambda: signed().rpartition(".")[0] + ".",
    "a signature of another token": lambda: (
        signed().rpartition(".")[0] + "." + signed(sub="eve").rpartition(".")[2]
    ),
    "another issuer": lambda: signed(iss="https://evil.example"),
    "an issuer with a slash more": lambda: signed(iss=f"{URL}/"),
    "no issuer": lambda: signed(iss=None),
    "another audience": lambda: signed(aud="somebody"),
    "other audiences": lambda: signed(aud=["some", "body"]),
    "no audience": lambda: signed(aud=None),
    "expired": lambda: signed(exp=int(NOW) - 61),
    "no expiry": lambda: signed(exp=None),
    "an expiry that is text": lambda: signed(exp="never"),
    "an expiry that is true": lambda: signed(exp=True),
    "an expiry without end": lambda: signed(exp=1e300),
    "not valid yet": lambda: signed(nbf=int(NOW) + 61),
    "issued in the future": lambda: signed(iat=int(NOW) + 61),
    "nobody": lambda: signed(sub=None),
    "an actor of ours": lambda: signed(sub="guard"),
    "a name with line ends": lambda: signed(sub="ada\r\nadmin"),
    "a name that is no text": lambda: signed(sub=["ada"]),
    "another type": lambda: signed(header={"typ": "logout+jwt"}),
    "an encrypted token": lambda: "a.b.c.d.e",
    "no token": lambda: "a.b.c",
    "a header that is a list": lambda: f"{part([])}.{part({})}.x",
    "deep nesting": lambda: urlsafe_b64encode(b"[" * 10_000).decode() + ".x.x",
    "too long": lambda: signed(padding="x" * 20_000),
}


@pytest.mark.parametrize("forgery", FORGED)
def test_a_forged_token_is_refused(forgery: str) -> None:
    fake = FakeIssuer()
    fake.keys.append(OctKey.import_key("a shared secret among the keys", {"kid": "shared"}))
    with pytest.raises(Unauthenticated) as refused:
        _who(FORGED[forgery](), fake)
    assert "evil" not in str(refused.value)
    assert not [path for path in fake.asked if path.startswith(("/chain", "/evil"))]


def test_shared_secrets_weak_keys_and_keys_for_encryption_verify_nothing() -> None:
    shared = OctKey.import_key("a shared secret among the keys", {"kid": "shared"})
    with pytest.warns(SecurityWarning):
        weak = rsa_key("weak", 1024)
    encrypting = {**rsa_key("enc").as_dict(private=False), "use": "enc"}
    fake = FakeIssuer()
    fake.keys += [shared, weak, encrypting, {"kty": "RSA", "kid": "broken", "n": "x"}, {"kty": "?"}]
    text = _by_hand(
        {"alg": "HS256", "kid": "shared"},
        lambda text: hmac.digest(b"a shared secret among the keys", text, "sha256"),
    )
    for token in (text, _raw(weak, {"alg": "RS256", "kid": "weak"}), signed(rsa_key("enc"))):
        with pytest.raises(Unauthenticated):
            _who(token, fake)
    assert _who(signed(), fake).name == "ada"


def test_clocks_may_differ_by_the_skew_and_no_more() -> None:
    for claim, by in (("exp", -59), ("nbf", 59), ("iat", 59)):
        within: Any = {claim: int(NOW) + by}
        assert _who(signed(**within)).name == "ada"


def test_a_new_key_is_fetched_once_a_minute_at_most_whoever_asks() -> None:
    async def scenario() -> None:
        fake, time = FakeIssuer(), Time()
        issuer = _issuer(fake, time)
        fresh = rsa_key("fresh")
        await issuer.bearer(signed())
        fetched = len(fake.asked)
        fake.keys = [fresh, ec_key()]
        for _ in range(50):
            with pytest.raises(Unauthenticated):
                await issuer.bearer(signed(fresh))
        assert len(fake.asked) == fetched
        time.now += REFETCH
        assert (await issuer.bearer(signed(fresh))).name == "ada"
        with pytest.raises(Unauthenticated):  # its old key is gone
            await issuer.bearer(signed())
        await issuer.close()

    asyncio.run(scenario())


def test_known_keys_go_on_while_the_issuer_is_down_and_none_means_later() -> None:
    async def scenario() -> None:
        fake, time = FakeIssuer(), Time()
        fake.down = True
        issuer = _issuer(fake, time)
        with pytest.raises(StateUnavailable):
            await issuer.bearer(signed())
        fake.down = False
        time.now += REFETCH
        assert (await issuer.bearer(signed(exp=int(time.now) + 10))).name == "ada"
        fake.down = True
        time.now += REFETCH
        with pytest.raises(Unauthenticated):
            await issuer.bearer(signed(rsa_key("fresh")))
        assert (await issuer.bearer(signed(exp=int(time.now) + 10))).name == "ada"
        await issuer.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "more",
    [
        {"issuer": "https://evil.example"},
        {"jwks_uri": "http://evil.example/keys"},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": 7},
        {"token_endpoint": "https://user@evil.example/"},
    ],
)
def test_a_document_of_another_issuer_or_without_tls_is_not_believed(more: dict[str, Any]) -> None:
    fake = FakeIssuer()
    fake.document.update(more)
    with pytest.raises(StateUnavailable):
        _who(signed(), fake)


def test_names_and_roles_are_read_where_the_configuration_says() -> None:
    settings = OidcSettings(
        issuer=URL, client_id=AUDIENCE, audience="api", name_claim="email", roles_claim="realm.roles",
        roles=(RoleRule("adm", Role.ADMIN),),
    )  # fmt: skip
    token = signed(aud=["x", "api"], email="Ada@Example.org", realm={"roles": ["adm"]})
    who = _who(token, settings=settings)
    assert (who.name, who.permits(Role.ADMIN)) == ("ada@example.org", True)
    assert _who(signed(aud="api", email="a@b", realm="adm"), settings=settings).grants.highest is Role.NOBODY


# Log-in.


async def _begun(issuer: Issuer) -> dict[str, list[str]]:
    where = await issuer.leads_to("https://gate.example/callback", "STATE", "NONCE", "VERIFIER" * 8)
    parts = urlsplit(where)
    assert f"{parts.scheme}://{parts.netloc}{parts.path}" == f"{URL}/authorize"
    return parse_qs(parts.query)


def test_a_log_in_is_bound_to_its_browser_by_pkce_and_nonce() -> None:
    async def scenario() -> None:
        fake = FakeIssuer()
        issuer = _issuer(fake)
        query = await _begun(issuer)
        expected = urlsafe_b64encode(sha256(b"VERIFIER" * 8).digest()).rstrip(b"=").decode()
        assert (query["code_challenge"], query["code_challenge_method"]) == ([expected], ["S256"])
        assert (query["state"], query["nonce"], query["response_type"]) == (["STATE"], ["NONCE"], ["code"])
        assert "openid" in query["scope"][0]
        fake.codes = {"good": signed(nonce="NONCE"), "other": signed(nonce="X"), "foreign": signed(aud="x")}
        redeem = ("https://gate.example/callback", "NONCE", "VERIFIER" * 8)
        assert (await issuer.redeemed("good", *redeem)).name == "ada"
        assert fake.forms[-1]["code_verifier"] == ["VERIFIER" * 8]
        for code in ("other", "foreign", "good", "unknown"):
            with pytest.raises(Unauthenticated):
                await issuer.redeemed(code, *redeem)
        fake.down = True
        with pytest.raises(StateUnavailable):
            await issuer.redeemed("good", *redeem)
        await issuer.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("odd", [{"kty": []}, {"kty": {}}, {"kty": "RSA", "n": 5, "e": "AQAB"}, {"use": []}])
def test_a_key_that_is_none_takes_no_other_away(odd: object) -> None:
    fake = FakeIssuer()
    fake.keys = [odd, rsa_key()]
    assert _who(signed(), fake).name == "ada"


def test_an_issuer_that_answers_nonsense_is_one_that_is_out_of_reach() -> None:
    for content in (b"[" * 500_000, b'{"keys": ' + b"[" * 500_000, b"null"):
        fake = FakeIssuer()
        answered = httpx.Response(200, content=content)
        issuer = Issuer(SETTINGS, "", Time().clock, httpx.MockTransport(lambda request, a=answered: a))
        with pytest.raises(StateUnavailable):
            asyncio.run(issuer.bearer(signed()))
    fake.document["jwks_uri"] = f"{URL}/{'x' * 70_000}"  # more than httpx calls a URL
    with pytest.raises(StateUnavailable):
        _who(signed(), fake)


@pytest.mark.parametrize("held", [5, True, None, {"none": 1}, [5, None, []]])
def test_a_claim_that_holds_no_values_gives_no_role(held: object) -> None:
    assert _who(signed(groups=held)).grants.highest is Role.NOBODY


def test_an_email_that_nobody_has_verified_is_nobody_s_name() -> None:
    settings = replace(SETTINGS, name_claim="email")
    for verified in (True, None):
        token = signed(email="ada@example.org", email_verified=verified)
        assert _who(token, settings=settings).name == "ada@example.org"
    for unverified in (False, "false"):
        with pytest.raises(Unauthenticated, match="verified"):
            _who(signed(email="ada@example.org", email_verified=unverified), settings=settings)
