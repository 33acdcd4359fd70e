"""One attempt to deliver a message over HTTP, in bounds and to no address that was not judged.

The name is resolved once, all its addresses are judged (`notify.addresses`), and the connection goes to one
of them: between the check and the connection nobody is asked again, so that a name that points elsewhere a
moment later (DNS rebinding) leads nowhere. TLS is checked for the name, not for the address. Redirects are
not followed, the proxies of the environment are not used, and of an answer nothing but the status and one
header field is read: whatever a receiver says, it says nothing to us. The exception is the answer to a login,
of which at most `LARGEST` bytes are read.

No error names a URL: Slack's is a secret.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx
import orjson

from notify import signature
from notify.addresses import Forbidden, judged
from notify.message import Login, Message
from notify.retry import Fate, fate, retry_after

DEADLINE = 10.0
"""Seconds for one attempt, from the name to the status."""

CONNECT = 3.0
LARGEST = 64 * 1024
MOST_ADDRESSES = 3
"""Addresses of one name that are tried."""

RESOLVERS = 4
"""Threads that ask for names. A name may take longer than an attempt: no thread of others is taken for it."""

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]


@dataclass(frozen=True, slots=True)
class Attempt:
    """What one attempt came to.

    Attributes:
        status: of the last answer; None: there was none.
        detail: why it was not delivered, "" when it was.
        wait: seconds that the receiver asks for; None: it does not.
    """

    fate: Fate
    status: int | None = None
    detail: str = ""
    wait: float | None = None


class Delivery:
    """Posts messages. `resolver` and `transport` are for tests."""

    def __init__(
        self,
        resolver: Resolve | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        deadline: float = DEADLINE,
    ) -> None:
        self._resolve = resolver or self._ask
        self._resolvers = ThreadPoolExecutor(RESOLVERS, thread_name_prefix="resolve")
        self._deadline = deadline
        self._transport = transport
        self._client: httpx.AsyncClient | None = None

    async def close(self) -> None:
        """Let the connections go. Nothing is posted afterwards."""
        self._resolvers.shutdown(wait=False, cancel_futures=True)
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def post(self, message: Message, notice: str, now: float, *, allow_private: bool) -> Attempt:
        """Post every body of `message`; `now` is wall-clock time in seconds. It never raises."""
        done = Attempt(Fate.DELIVERED)
        try:
            async with asyncio.timeout(self._deadline):
                headers = dict(message.headers)
                if message.login is not None:
                    headers["authorization"] = f"Bearer {await self._token(message.login, allow_private)}"
                for body in message.bodies:
                    signed = (
                        signature.signed(message.signing, notice, int(now), body) if message.signing else {}
                    )
                    answer = await self._send(message.url, body, {**headers, **signed}, allow_private)
                    done = _attempt(answer, message.done, now)
                    await answer.aclose()
                    if done.fate is not Fate.DELIVERED:
                        return done
        except TimeoutError:
            return Attempt(Fate.AGAIN, detail=f"no answer within {self._deadline:g} s")
        except Forbidden as error:
            return Attempt(Fate.AGAIN, detail=str(error))
        except OSError as error:
            return Attempt(
                Fate.AGAIN, detail=f"the name has no address: {error.strerror or type(error).__name__}"
            )
        except _NoToken as error:
            return Attempt(Fate.AGAIN, error.status, str(error))
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return Attempt(Fate.AGAIN, detail=f"no answer: {type(error).__name__}")
        except ValueError as error:  # such as a label of the name that is too long
            return Attempt(Fate.AGAIN, detail=f"the URL cannot be used: {type(error).__name__}")
        return done

    async def _ask(self, host: str, port: int) -> Sequence[str]:
        """Every address of `host`. Raises OSError, and ValueError for what is no name."""
        ask = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        found = await asyncio.get_running_loop().run_in_executor(self._resolvers, ask)
        return list(dict.fromkeys(str(address[0]) for *_, address in found))

    async def _send(
        self, url: str, body: bytes, headers: dict[str, str], allow_private: bool
    ) -> httpx.Response:
        parts = httpx.URL(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        host = parts.raw_host.decode("ascii")
        addresses = judged(await self._resolve(host, port), allow_private=allow_private)[:MOST_ADDRESSES]
        fields = {"user-agent": "pointsman", "accept-encoding": "identity", **headers,
                  "host": parts.netloc.decode("ascii")}  # fmt: skip
        client = await self._opened()
        for last, address in enumerate(addresses, 1 - len(addresses)):
            request = client.build_request(
                "POST", parts.copy_with(host=address), content=body, headers=fields,
                extensions={"sni_hostname": host} if parts.scheme == "https" else {},
            )  # fmt: skip
            try:
                return await client.send(request, stream=True)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                if last == 0:
                    raise
        raise Forbidden("it has no address")

    async def _token(self, login: Login, allow_private: bool) -> str:
        headers = {"content-type": "application/json"}
        answer = await self._send(login.url, login.body, headers, allow_private)
        try:
            if not answer.is_success:
                raise _NoToken(f"the login was answered with HTTP {answer.status_code}", answer.status_code)
            said = bytearray()
            async for part in answer.aiter_raw():
                said += part
                if len(said) > LARGEST:
                    raise _NoToken("the answer to the login is too long", answer.status_code)
        finally:
            await answer.aclose()
        try:
            token = orjson.loads(bytes(said))[login.key]
        except (orjson.JSONDecodeError, KeyError, TypeError, IndexError) as error:
            raise _NoToken(f"the answer to the login has no {login.key}", answer.status_code) from error
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise _NoToken(f"the {login.key} of the login is none", answer.status_code)
        return token

    async def _opened(self) -> httpx.AsyncClient:
        if self._client is not None:
            return self._client
        # Reading the authorities' certificates takes tens of milliseconds, often right after a trip.
        context = await asyncio.to_thread(httpx.create_ssl_context, trust_env=False)
        if self._client is None:
            self._client = httpx.AsyncClient(
                verify=context,
                # What one receiver sets no other one is sent: they may share an address.
                cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
                timeout=httpx.Timeout(self._deadline, connect=CONNECT),
                follow_redirects=False,
                trust_env=False,
                transport=self._transport,
                # Another address is another connection; nothing is kept for a receiver that moves.
                limits=httpx.Limits(max_connections=32, max_keepalive_connections=0),
            )
        return self._client


class _NoToken(Exception):  # noqa: N818 - what is missing
    def __init__(self, detail: str, status: int) -> None:
        super().__init__(detail)
        self.status = status


def _attempt(answer: httpx.Response, also_done: frozenset[int], now: float) -> Attempt:
    status = answer.status_code
    if status in also_done:
        return Attempt(Fate.DELIVERED, status)
    found = fate(status)
    if found is Fate.DELIVERED:
        return Attempt(found, status)
    detail = f"HTTP {status}"
    if 300 <= status < 400:
        detail = f"HTTP {status}: it sends us elsewhere, which is not followed"
    return Attempt(found, status, detail, retry_after(answer.headers.get("retry-after"), now))
