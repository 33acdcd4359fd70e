"""A gate of the operator's own: commands, URLs, and everything that is no verdict."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import orjson
import pytest

from domain.errors import GateError
from domain.verdict import Verdict
from examples.model_server.http import Answer
from gates.checks.custom import Custom, judgement
from gates.result import Judgement
from tests.support.trials import answering, context_of, settings_of


def judged(**gate: Any) -> Judgement:
    async def scenario() -> Judgement:
        settings = settings_of(9001, 9002, {"custom": [{"name": "own", **gate}]})
        async with context_of(settings) as context:
            (custom,) = context.endpoint.gates.custom
            assert Custom(custom).name == "own"
            return await Custom(custom).run(context)

    return asyncio.run(scenario())


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


@pytest.mark.parametrize(
    ("code", "said", "verdict"),
    [
        (0, "pass", Verdict.PASS),
        (1, "fail", Verdict.FAIL),
        (2, "inconclusive", Verdict.INCONCLUSIVE),
        (3, "error", Verdict.ERROR),
        (1, "pass", Verdict.FAIL),
        (0, "fail", Verdict.FAIL),
        (3, "pass", Verdict.ERROR),
    ],
)
def test_the_worse_of_exit_code_and_json_counts(code: int, said: str, verdict: Verdict) -> None:
    answer = json.dumps({"verdict": said, "sentence": "so it is", "numbers": {"x": 1.5}})
    found = judged(command=python(f"print({answer!r}); raise SystemExit({code})"))
    assert found == Judgement(verdict, "so it is", {"x": 1.5})


def test_a_command_knows_what_is_on_trial() -> None:
    code = (
        "import json, os, sys; trial = json.load(sys.stdin); "
        "fine = trial['candidate']['version'] == os.environ['POINTSMAN_CANDIDATE'] == 'rain-2'; "
        "fine = fine and trial['candidate']['urls'] == [os.environ['POINTSMAN_CANDIDATE_URL']]; "
        "print(json.dumps({'verdict': 'pass' if fine else 'fail'}))"
    )
    assert judged(command=python(code)).verdict is Verdict.PASS


def test_a_code_alone_may_stop_a_release_but_not_let_it_go_on() -> None:
    found = judged(command=python("import sys; sys.exit('too biased')"))
    assert (found.verdict, found.sentence) == (Verdict.FAIL, "too biased")
    with pytest.raises(GateError, match="wrote no verdict"):
        judged(command=python("pass"))


@pytest.mark.parametrize(
    ("gate", "complaint"),
    [
        ({"command": ["/nowhere/program"]}, "cannot be started"),
        ({"command": python("raise SystemExit(7)")}, "ended with 7, which is no verdict"),
        ({"command": python("print('fine')")}, "wrote no JSON"),
        ({"command": python("print('x' * 2_000_000)")}, "wrote more than 1048576 bytes"),
        ({"command": python("import time; time.sleep(60)"), "timeout": "1s"}, "did not end within 1 s"),
        ({"url": "http://127.0.0.1:1/verdict"}, "gives no answer"),
    ],
)
def test_what_is_no_verdict_is_no_measurement(gate: dict[str, Any], complaint: str) -> None:
    with pytest.raises(GateError, match=complaint):
        judged(**gate)


def test_nothing_of_a_late_command_is_left(tmp_path: Path) -> None:
    """Nor of what it started."""
    path = tmp_path / "pid"
    child = f"import os, time; open({str(path)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    with pytest.raises(GateError, match="did not end within 2 s"):
        judged(command=python(code), timeout="2s")
    for _ in range(200):
        if not Path(f"/proc/{path.read_text()}").exists() or _is_dead(int(path.read_text())):
            return
        time.sleep(0.01)
    raise AssertionError("it still runs")


def _is_dead(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (
            Answer(200, b'{"verdict": "pass", "sentence": "all is well"}'),
            Judgement(Verdict.PASS, "all is well"),
        ),
        (Answer(200, b'{"verdict": "fail"}'), Judgement(Verdict.FAIL, "URL says fail")),
    ],
)
def test_a_url_gets_the_trial_and_answers_the_verdict(answer: Answer, found: Judgement) -> None:
    asked: list[object] = []

    def respond(method: str, path: str, body: bytes) -> Answer:
        asked.append((method, path, orjson.loads(body)["endpoint"]))
        return answer

    async def scenario() -> Judgement:
        async with answering(respond) as port:
            url = f"http://127.0.0.1:{port}/verdict"
            async with context_of(settings_of(1, 2, {"custom": [{"name": "own", "url": url}]})) as context:
                said = await Custom(context.endpoint.gates.custom[0]).run(context)
                return Judgement(said.verdict, said.sentence.replace(url, "URL"))

    assert asyncio.run(scenario()) == found
    assert asked == [("POST", "/verdict", "rain")]


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"[]", "no object"),
        (b"{}", "verdict None; it is one of pass"),
        (b'{"verdict": "overridden"}', "verdict 'overridden'"),
        (b'{"verdict": "pass", "numbers": {"x": "many"}}', "'many' for the number 'x'"),
        (b'{"verdict": "pass", "numbers": []}', "numbers that are no object"),
    ],
)
def test_what_is_written_must_be_a_verdict(body: bytes, complaint: str) -> None:
    with pytest.raises(GateError, match=complaint):
        judgement(body, "it")


def test_secrets_of_the_environment_reach_the_operators_own_command_and_nothing_else() -> None:
    os.environ["A_SECRET"] = "for the command"
    try:
        code = "import os, sys; print(1 / 0 if os.environ['A_SECRET'] != 'for the command' else '')"
        with pytest.raises(GateError, match="wrote no verdict"):
            judged(command=python(code))
    finally:
        del os.environ["A_SECRET"]
