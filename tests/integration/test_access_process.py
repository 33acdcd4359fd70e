"""A real control process that asks who is there, over TLS, as the command line finds it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from console.app import app
from control.process import Control, Invocation
from domain.errors import ConfigError
from settings.file import load
from tests.support.certificates import Authority
from tests.support.control import ControlProcess, document, write

RUNNER = CliRunner()


def _pointsman(*arguments: str, env: dict[str, str] | None = None) -> Any:
    return RUNNER.invoke(app, arguments, env=env)


def test_the_command_line_makes_shows_uses_and_ends_a_token_and_no_log_holds_it(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    issued = authority.authority.issue_cert("127.0.0.1")
    certificate, key = tmp_path / "gate.pem", tmp_path / "gate.key"
    issued.cert_chain_pems[0].write_to_path(str(certificate))
    issued.private_key_pem.write_to_path(str(key))
    configuration = {
        **document(tmp_path),
        "auth": {"tokens_file": str(tmp_path / "tokens.json")},
        "admin_tls": {"certificate": str(certificate), "key": str(key)},
    }
    config = str(write(tmp_path, configuration))
    made = _pointsman("token", "create", "ada", "--role", "operator", "--endpoint", "rain", "-c", config)
    assert made.exit_code == 0, made.output
    token = made.stdout.strip()
    assert token.startswith("pmn_")
    refused = _pointsman("token", "create", "eve", "--role", "operator", "--endpoint", "wind", "-c", config)
    assert (refused.exit_code, "--endpoint" in refused.output) == (1, True)

    control = ControlProcess(tmp_path)
    try:
        assert control.admin.startswith("https://127.0.0.1:")
        known = {"POINTSMAN_ADMIN": control.admin, "POINTSMAN_CA": authority.ca}
        shown = {**known, "POINTSMAN_TOKEN": token}
        assert "401" in _pointsman("status", "--json", env={**known, "POINTSMAN_TOKEN": ""}).stdout
        killed = _pointsman("kill", "rain", "--reason", "worse", env=shown)
        assert killed.exit_code == 0, killed.output
        back = _pointsman("rearm", "rain", "--reason", "better", env=shown)
        assert (back.exit_code, "release" in back.output) == (1, True)
        listed = _pointsman("token", "list", "-c", config, "--json")
        assert [one["state"] for one in json.loads(listed.stdout)["tokens"]] == ["in force"]
        assert _pointsman("token", "revoke", "ada", "-c", config).exit_code == 0
        for _ in range(100):
            answer = _pointsman("status", "--json", env=shown)
            if answer.exit_code:
                break
        assert json.loads(answer.stdout)["status"] == 401
    finally:
        control.terminate()
    secret = token.rpartition("_")[2]
    for one in tmp_path.rglob("*"):
        if one.is_file():
            assert secret.encode() not in one.read_bytes(), one
    assert secret not in listed.output + answer.output + killed.output


def test_a_token_is_not_sent_in_the_clear_to_another_machine() -> None:
    env = {"POINTSMAN_TOKEN": "pmn_canary", "POINTSMAN_ADMIN": "http://gate.example:8081"}
    answer = _pointsman("status", env=env)
    assert answer.exit_code == 2
    assert "https only" in answer.output
    assert "canary" not in answer.output
    answer = _pointsman("status", env={"POINTSMAN_TOKEN": "a\nb", "POINTSMAN_ADMIN": "https://gate.example"})
    assert (answer.exit_code, "POINTSMAN_TOKEN" in answer.output) == (2, True)


def test_the_check_says_when_others_may_write_the_tokens(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    configuration = {**document(tmp_path), "auth": {"tokens_file": str(path)}}
    config = str(write(tmp_path, configuration))
    assert _pointsman("token", "create", "ada", "--role", "admin", "-c", config).exit_code == 0
    path.chmod(0o666)
    checked = _pointsman("check", "-c", config)
    assert "chmod 600" in checked.output
    with pytest.raises(ConfigError, match="chmod 600"):
        Control(load(Path(config)), Invocation(Path(config), str(tmp_path / "link.sock")))
