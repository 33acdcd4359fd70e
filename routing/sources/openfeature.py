"""Flags of any OpenFeature provider: its SDK evaluates, in threads, behind our own bounds.

What is not left to the SDK (openfeature-sdk 0.10, docs/adr/0012-openfeature.md says how it was found):

* readiness: a provider that could not be initialised is made anew, for some never tell when they recover;
* staleness: a provider that says it is stale, or in error, answers from what it has, for ever. Its answers
  count for `age` seconds from then on, and no longer;
* initialisation: a provider whose `initialize` is a coroutine (GrowthBook's) is awaited here, since the SDK
  would call it with an argument that it does not take, and not await it;
* its log: it writes a traceback with the unit's attributes for every evaluation that fails;
* its registry: it keeps every domain and every client for ever, so an evaluator has two of each in turn.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import itertools
import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import EventDetails, ProviderEvent
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import FlagEvaluationDetails
from openfeature.provider import AbstractProvider, FeatureProvider
from openfeature.provider.no_op_provider import NoOpProvider

from domain.errors import StateUnavailable
from domain.exposure import Question
from routing.sources.evaluator import Evaluation
from settings.schema import OpenFeatureSettings

THREADS = 4
"""Threads that a provider without coroutines is asked in."""

FIRST_WAIT = 10.0
"""Seconds that a provider has to become ready."""

_EVENTS = (
    ProviderEvent.PROVIDER_READY, ProviderEvent.PROVIDER_STALE, ProviderEvent.PROVIDER_ERROR,
    ProviderEvent.PROVIDER_CONFIGURATION_CHANGED,
)  # fmt: skip
_DEFINITE = frozenset(
    {
        ErrorCode.FLAG_NOT_FOUND, ErrorCode.TYPE_MISMATCH, ErrorCode.TARGETING_KEY_MISSING,
        ErrorCode.INVALID_CONTEXT,
    }
)  # fmt: skip
"""Errors that the flag or the question has, however well the platform is."""


class SdkEvaluator:
    """The provider that `make` makes, in a thread.

    `changed` is called, in any thread, when the provider says that flags have changed; `known` are attributes
    that go with every question. `renew`: seconds after which a new provider takes the place of one that looks
    for changes too seldom; `as_text`: the provider makes a boolean of anything, so one is asked as text.
    """

    def __init__(
        self,
        settings: OpenFeatureSettings,
        make: Callable[[], FeatureProvider],
        known: Mapping[str, str],
        changed: Callable[[], None],
        monotonic: Callable[[], float],
        *,
        renew: float | None = None,
        as_text: bool = False,
    ) -> None:
        self._settings = settings
        self._make = make
        self._known = dict(known)
        self._changed = changed
        self._monotonic = monotonic
        self._renew = renew
        self._as_text = as_text
        self._running: _Running | None = None
        self._threads = ThreadPoolExecutor(THREADS, "openfeature")
        self._ill_since: float | None = None
        self._illness = ""
        self._made_at = 0.0
        self._renewing = asyncio.Lock()
        own = f"pointsman-{secrets.token_hex(8)}"
        self._clients = itertools.cycle([api.get_client(f"{own}-{one}") for one in range(2)])
        for name in ("openfeature", "openfeature.contrib", "growthbook", "growthbook_openfeature_provider"):
            logging.getLogger(name).setLevel(logging.CRITICAL)

    def __repr__(self) -> str:
        return f"<SdkEvaluator {self._settings.provider}>"

    @property
    def illness(self) -> str | None:
        """Why the provider's answers grow old; None while it is well."""
        return None if self._ill_since is None else self._illness

    async def start(self) -> None:
        """See Evaluator."""
        self._running = await self._begin()
        self._ill_since = None

    async def close(self) -> None:
        """See Evaluator."""
        running, self._running = self._running, None
        if running is not None:
            await self._end(running)
        self._threads.shutdown(wait=False)

    async def evaluate(self, questions: Sequence[Question]) -> list[Evaluation]:
        """See Evaluator."""
        if self._running is not None and self._renew is not None:
            await self._make_anew(self._renew)
        running = self._running
        if running is None:
            return [Evaluation(None, "it is not ready")] * len(questions)
        if self._ill_since is not None and self._monotonic() - self._ill_since >= self._settings.age:
            return [Evaluation(None, self._illness)] * len(questions)
        if _has_coroutines(running.provider):
            return list(await asyncio.gather(*(self._awaited(running.client, one) for one in questions)))
        found: list[Evaluation] = await self._in_thread(self._each, running.client, questions)
        return found

    def _each(self, client: OpenFeatureClient, questions: Sequence[Question]) -> list[Evaluation]:
        return [self._asked(client, one) for one in questions]

    def _asked(self, client: OpenFeatureClient, question: Question) -> Evaluation:
        context = self._context(question)
        if self._as_text or self._settings.variant is not None:
            return self._read(client.get_string_details(question.flag, "", context))
        return self._read(client.get_boolean_details(question.flag, False, context))

    async def _awaited(self, client: OpenFeatureClient, question: Question) -> Evaluation:
        context = self._context(question)
        if self._as_text or self._settings.variant is not None:
            return self._read(await client.get_string_details_async(question.flag, "", context))
        return self._read(await client.get_boolean_details_async(question.flag, False, context))

    def _context(self, question: Question) -> EvaluationContext:
        return EvaluationContext(question.unit, {**self._known, **dict(question.fields)})

    def _read(self, details: FlagEvaluationDetails[Any]) -> Evaluation:
        code, value = details.error_code, details.value
        if code is not None:
            # Its message is the provider's own text and may hold the unit.
            return Evaluation(False if code in _DEFINITE else None, str(code))
        wanted = self._settings.variant
        if wanted is not None:
            return Evaluation(wanted in (details.variant, value))
        if not self._as_text:
            return Evaluation(value is True)
        if value in ("True", "False"):
            return Evaluation(value == "True")
        told = "FLAG_NOT_FOUND" if value == "" else "TYPE_MISMATCH: the flag is no boolean"
        return Evaluation(False, told)

    # The provider's life.

    async def _begin(self) -> _Running:
        """A new provider, ready, in the domain that the running one has not. Raises StateUnavailable."""
        client = self._free_client()
        domain = str(client.domain)
        provider: Any = None
        try:
            async with asyncio.timeout(FIRST_WAIT):
                provider = await self._in_thread(self._make)
                if inspect.iscoroutinefunction(getattr(provider, "initialize", None)):
                    provider = _Awaited(provider)
                    await provider.begin()
                await self._in_thread(api.set_provider_and_wait, provider, domain)
        except Exception as error:  # a provider may raise whatever it likes
            if provider is not None:
                await self._drop(domain, provider)
            late = isinstance(error, TimeoutError)
            reason = f"it was not ready after {FIRST_WAIT:g} s" if late else _reason(error)
            raise StateUnavailable(f"OpenFeature provider {self._settings.provider}: {reason}") from error
        self._made_at = self._monotonic()
        return self._listening(_Running(domain, provider, client))

    def _free_client(self) -> OpenFeatureClient:
        taken = None if self._running is None else self._running.client
        return next(one for one in self._clients if one is not taken)

    def _listening(self, running: _Running) -> _Running:
        loop = asyncio.get_running_loop()
        for event in _EVENTS:
            handler = functools.partial(_hand_over, loop, self._heard, running, event)
            running.handlers.append((event, handler))
            running.client.add_handler(event, handler)
        return running

    async def _end(self, running: _Running) -> None:
        for event, handler in running.handlers:
            running.client.remove_handler(event, handler)
        await self._drop(running.domain, running.provider)

    async def _drop(self, domain: str, provider: Any) -> None:
        """The SDK has no way to take a provider out but to put another in its place."""
        await self._in_thread(api.set_provider, NoOpProvider(), domain)
        if isinstance(provider, _Awaited):
            await provider.end()

    async def _make_anew(self, after: float) -> None:
        """A fresh provider `after` seconds; while none can be had, the one there is counts as stale."""
        if self._renewing.locked() or self._monotonic() - self._made_at < after:
            return
        async with self._renewing:
            try:
                fresh = await self._begin()
            except StateUnavailable as error:
                self._made_at = self._monotonic()
                self._ill(str(error))
                return
            before, self._running = self._running, fresh
            self._ill_since = None
            if before is not None:
                await self._end(before)

    def _ill(self, reason: str) -> None:
        if self._ill_since is None:
            self._ill_since = self._monotonic()
        self._illness = reason

    def _heard(self, running: _Running, event: ProviderEvent, details: EventDetails) -> None:
        if running is not self._running:
            return
        if event is ProviderEvent.PROVIDER_CONFIGURATION_CHANGED:
            self._changed()
        elif event is ProviderEvent.PROVIDER_READY:
            if self._ill_since is not None:
                self._ill_since = None
                self._changed()
        else:
            state = "stale" if event is ProviderEvent.PROVIDER_STALE else "in error"
            told = (details.message or "").strip()[:200]
            self._ill(f"OpenFeature provider {self._settings.provider} is {state}: {told}".rstrip(": "))

    async def _in_thread(self, call: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call, *arguments)


@dataclass(frozen=True, slots=True)
class _Running:
    """A provider that was ready, and the client of its domain."""

    domain: str
    provider: Any
    client: OpenFeatureClient
    handlers: list[tuple[ProviderEvent, Callable[[EventDetails], None]]] = field(default_factory=list)


class _Awaited:
    """A provider whose `initialize` is a coroutine: awaited by us, and closed by us."""

    def __init__(self, provider: Any) -> None:
        self.provider = provider

    def __getattr__(self, name: str) -> Any:
        return getattr(self.provider, name)

    async def begin(self) -> None:
        """Raises StateUnavailable where the provider says that it is not ready."""
        await self.provider.initialize()
        if not getattr(self.provider, "initialized", True):
            raise StateUnavailable("it could not be initialised")

    async def end(self) -> None:
        close = getattr(self.provider, "close", None)
        if inspect.iscoroutinefunction(close):
            await close()

    def attach(self, on_emit: Callable[..., None]) -> None:
        self.provider.attach(lambda _, event, details: on_emit(self, event, details))

    def initialize(self, context: EvaluationContext) -> None:
        """`begin` has done it."""

    def shutdown(self) -> None:
        """`end` does it."""


def _has_coroutines(provider: Any) -> bool:
    asked = provider.provider if isinstance(provider, _Awaited) else provider
    own: object = getattr(type(asked), "resolve_boolean_details_async", None)
    return own is not None and own is not AbstractProvider.resolve_boolean_details_async


def _hand_over(
    loop: asyncio.AbstractEventLoop,
    heard: Callable[[_Running, ProviderEvent, EventDetails], None],
    running: _Running,
    event: ProviderEvent,
    details: EventDetails,
) -> None:
    """From a thread of the SDK to the loop; one that has ended needs no news."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(heard, running, event, details)


def _reason(error: BaseException) -> str:
    cause = error.__cause__ or error.__context__
    told = getattr(error, "error_message", None) or str(error) or type(error).__name__
    return f"{told} ({cause})"[:300] if cause is not None and str(cause) else str(told)[:300]
