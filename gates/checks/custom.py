"""A gate of the operator's own: a command or a URL that answers with a verdict.

A command is a program with arguments, run without a shell, in the working directory of who runs the gate.
What is on trial stands in its environment (`POINTSMAN_ENDPOINT`, `POINTSMAN_INCUMBENT`,
`POINTSMAN_CANDIDATE`,
`POINTSMAN_INCUMBENT_URL`, `POINTSMAN_CANDIDATE_URL`) and, with all URLs, as JSON on its standard input; a URL
gets the same JSON by POST. The answer is one JSON object, `{"verdict": "pass", "sentence": "…", "numbers":
{…}}`, with one of the four verdicts. A command also ends with 0 PASS, 1 FAIL, 2 INCONCLUSIVE or 3 ERROR; its
exit code and its JSON must both say PASS for a PASS, and the worse of the two counts. No answer in time,
another exit code or anything else that cannot be read is an ERROR.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import signal

import httpx
import orjson

from domain.errors import GateError
from domain.routing import Version
from domain.verdict import Verdict
from gates.gate import GateContext
from gates.processes import written
from gates.result import CODES, Judgement
from gates.together import together
from settings.criteria import CustomGate

VERDICTS = {code: verdict for verdict, code in CODES.items()}
"""What the exit codes of a command mean."""

LONGEST_ANSWER = 1024 * 1024
GRACE = 5.0
"""Seconds in which an ended command has to let go of its pipes."""

_LONGEST_SENTENCE = 2000
_MOST_NUMBERS = 100


class Custom:
    """One command or URL."""

    def __init__(self, settings: CustomGate) -> None:
        self._settings = settings

    @property
    def name(self) -> str:
        """As configured."""
        return self._settings.name

    async def run(self, context: GateContext) -> Judgement:
        """See `gates.gate.Gate`."""
        if self._settings.url is not None:
            return await self._ask(self._settings.url, _trial(context))
        return await self._execute(context)

    async def _ask(self, url: str, trial: bytes) -> Judgement:
        headers = {"content-type": "application/json", "accept": "application/json"}
        settings = self._settings
        try:
            async with (
                asyncio.timeout(settings.timeout),
                httpx.AsyncClient(timeout=settings.timeout, trust_env=False) as client,
                client.stream("POST", url, content=trial, headers=headers) as answer,
            ):
                body = b""
                async for part in answer.aiter_bytes():
                    body += part
                    if len(body) > LONGEST_ANSWER:
                        raise GateError(f"{url} answers with more than {LONGEST_ANSWER} bytes")
        except TimeoutError as error:
            raise GateError(f"{url} did not answer within {settings.timeout:g} s") from error
        except httpx.HTTPError as error:
            raise GateError(f"{url} gives no answer: {str(error) or type(error).__name__}") from error
        if not answer.is_success:
            raise GateError(f"{url} answers {answer.status_code}")
        return judgement(body, url)

    async def _execute(self, context: GateContext) -> Judgement:
        command, timeout = self._settings.command, self._settings.timeout
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env={**os.environ, **_environment(context)},
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise GateError(f"{command[0]} cannot be started: {error}") from error
        try:
            async with asyncio.timeout(timeout):
                _, said, complained = await together(
                    (_write(process, _trial(context)), _read(process.stdout), _read(process.stderr))
                )
                await process.wait()
        except TimeoutError as error:
            raise GateError(f"{command[0]} did not end within {timeout:g} s") from error
        finally:
            await _end(process)
        complaint = complained[-500:].decode("utf-8", "replace").strip()
        by_code = VERDICTS.get(process.returncode or 0)
        if by_code is None:
            raise GateError(f"{command[0]} ended with {process.returncode}, which is no verdict: {complaint}")
        if not said.strip():
            if by_code is Verdict.PASS:
                raise GateError(f"{command[0]} ended with 0 and wrote no verdict: no data is not a pass")
            return Judgement(by_code, complaint or f"{command[0]} ended with {process.returncode}")
        found = judgement(said, command[0])
        return Judgement(Verdict.worst((found.verdict, by_code)), found.sentence, found.numbers)


def judgement(body: bytes, who: str) -> Judgement:
    """The verdict in `body`, JSON that `who` wrote. Raises GateError."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise GateError(f"{who} wrote no JSON: {error}") from error
    if not isinstance(document, dict):
        raise GateError(f"{who} wrote JSON that is no object")
    try:
        verdict = Verdict(str(document.get("verdict")))
    except ValueError as error:
        allowed = ", ".join(Verdict)
        raise GateError(
            f"{who} wrote the verdict {document.get('verdict')!r}; it is one of {allowed}"
        ) from error
    sentence = document.get("sentence", "")
    numbers = document.get("numbers", {})
    if not isinstance(sentence, str) or not isinstance(numbers, dict):
        raise GateError(f"{who} wrote a sentence that is no text, or numbers that are no object")
    kept: dict[str, float] = {}
    for name, value in list(numbers.items())[:_MOST_NUMBERS]:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise GateError(f"{who} wrote {value!r} for the number {name!r}")
        kept[str(name)[:200]] = float(value)
    return Judgement(verdict, sentence[:_LONGEST_SENTENCE] or f"{who} says {verdict}", kept)


async def _write(process: asyncio.subprocess.Process, trial: bytes) -> bytes:
    if process.stdin is not None:
        with contextlib.suppress(ConnectionError):  # it need not read what is on trial
            process.stdin.write(trial)
            await process.stdin.drain()
        process.stdin.close()
    return b""


async def _read(stream: asyncio.StreamReader | None) -> bytes:
    return await written(stream, LONGEST_ANSWER, "the command")


async def _end(process: asyncio.subprocess.Process) -> None:
    """End what is left of the command: all of its process group, children of children too."""
    with contextlib.suppress(ProcessLookupError):  # nothing is left of it
        os.killpg(process.pid, signal.SIGKILL)
    # It counts as ended when its pipes are, and a full pipe that nobody reads does not end.
    with contextlib.suppress(TimeoutError):  # whatever left the group may hold them open
        async with asyncio.timeout(GRACE):
            await together((_discard(process.stdout), _discard(process.stderr)))
            await process.wait()


async def _discard(stream: asyncio.StreamReader | None) -> None:
    while stream is not None and await stream.read(65_536):
        pass


def _trial(context: GateContext) -> bytes:
    return orjson.dumps(
        {
            "endpoint": context.endpoint.name,
            "path": context.endpoint.path,
            "protocol": context.endpoint.protocol,
            "incumbent": _shown(context.incumbent.version),
            "candidate": _shown(context.candidate.version),
        }
    )


def _shown(version: Version) -> dict[str, object]:
    return {"version": version.name, "urls": [str(one) for one in version.upstreams]}


def _environment(context: GateContext) -> dict[str, str]:
    incumbent, candidate = context.incumbent.version, context.candidate.version
    return {
        "POINTSMAN_ENDPOINT": context.endpoint.name,
        "POINTSMAN_INCUMBENT": incumbent.name,
        "POINTSMAN_INCUMBENT_URL": str(incumbent.upstreams[0]),
        "POINTSMAN_CANDIDATE": candidate.name,
        "POINTSMAN_CANDIDATE_URL": str(candidate.upstreams[0]),
    }
