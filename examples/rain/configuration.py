"""The two files that an operator writes: the gateway's configuration and the flag file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import orjson
import yaml

from examples.rain.models import CANDIDATE, INCUMBENT

ENDPOINT = "rain"
FLAG = "rain-v2-canary"
INFER_PATH = "/v2/models/rain/infer"
SHADOW_PAIRS = 1000
CANARY_PERCENT = 50


def configuration(listen: int, admin: int, incumbent: int, candidate: int, workers: int) -> dict[str, Any]:
    """`pointsman.yaml` for servers on these ports of 127.0.0.1."""
    return {
        "listen": f"127.0.0.1:{listen}",
        "admin": f"127.0.0.1:{admin}",
        "workers": workers,
        "drain": "2s",
        "state": {"database": "sqlite:///pointsman.db"},
        "flags": {"source": "file", "path": "flags.json"},
        "endpoints": {
            ENDPOINT: {
                "path": INFER_PATH,
                "protocol": "v2",
                "unit": "header:x-user-id",
                "timeout": "5s",
                "incumbent": {"version": INCUMBENT.version, "urls": [f"http://127.0.0.1:{incumbent}"]},
                "candidate": {"version": CANDIDATE.version, "urls": [f"http://127.0.0.1:{candidate}"]},
                "flag": FLAG,
                "shadow": {"share": "100%"},
                "compare": {"kind": "classification", "output": "predict_proba", "labels": ["dry", "rain"]},
                "guards": {
                    "false_alarm": 0.001,
                    "vote": {"per": "unit", "window": "10m"},
                    "flips": {"rate": "1%"},
                    "errors": {"excess": "0.5%"},
                },
                "plan": [
                    {"mode": "shadow", "pairs": SHADOW_PAIRS},
                    {"mode": "canary", "weight": "100%"},
                ],
            }
        },
    }


def flags(percent: int) -> dict[str, Any]:
    """`flags.json` in Unleash's own format: `percent` of the users may see the candidate."""
    parameters = {"rollout": str(percent), "stickiness": "userId", "groupId": FLAG}
    strategy = {"name": "flexibleRollout", "constraints": [], "parameters": parameters}
    feature = {"name": FLAG, "type": "release", "enabled": True, "strategies": [strategy]}
    return {"version": 1, "features": [feature]}


def write_configuration(folder: Path, document: dict[str, Any]) -> Path:
    """`folder`/pointsman.yaml."""
    path = folder / "pointsman.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    return path


def write_flags(folder: Path, percent: int) -> Path:
    """`folder`/flags.json, replaced in one step as an editor does it."""
    path = folder / "flags.json"
    draft = folder / "flags.json.draft"
    draft.write_bytes(orjson.dumps(flags(percent), option=orjson.OPT_INDENT_2))
    os.replace(draft, path)
    return path
