"""The gateway under test: its configuration, its start, and its admin API."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from bench.process import BenchError, Child, children, command_line, free_ports, pin, ticks
from bench.traffic import PATH

ENDPOINT = "bench"
FLAG = "bench-candidate"


@dataclass(frozen=True, slots=True)
class Setup:
    """What differs between scenarios; `plan`, `guards`, `shadow`, `drills`, `log.records` as configured."""

    incumbent: int
    candidate: int
    plan: tuple[Mapping[str, object], ...]
    workers: int = 1
    shadow_share: str = "0%"
    guards: Mapping[str, object] | None = None
    rollout: int = 100
    timeout: str = "2s"
    accelerated: bool = True
    records: str = "off"
    drills: Mapping[str, object] | None = None
    memory: str | None = None
    """`limits.memory` of a worker."""


def configuration(setup: Setup, directory: Path, listen: int, admin: int) -> dict[str, object]:
    """The configuration document; JSON is YAML, so it is written as such."""
    endpoint: dict[str, object] = {
        "path": PATH,
        "protocol": "v2",
        "unit": "header:x-user-id",
        "timeout": setup.timeout,
        "incumbent": {"version": "bench-1", "urls": [f"http://127.0.0.1:{setup.incumbent}"]},
        "candidate": {"version": "bench-2", "urls": [f"http://127.0.0.1:{setup.candidate}"]},
        "flag": FLAG,
        "shadow": {"share": setup.shadow_share},
        "compare": {"kind": "classification", "output": "predict_proba"},
        "plan": list(setup.plan),
        "log": {"records": setup.records},
    }
    if setup.guards is not None:
        endpoint["guards"] = setup.guards
    if setup.drills is not None:
        endpoint["drills"] = setup.drills
    limits = {} if setup.memory is None else {"limits": {"memory": setup.memory}}
    return {
        **limits,
        "environment": "bench",
        "listen": f"127.0.0.1:{listen}",
        "admin": f"127.0.0.1:{admin}",
        "workers": setup.workers,
        "state": {"database": f"sqlite:///{directory / 'pointsman.db'}"},
        "flags": {"source": "file", "path": str(directory / "flags.json")},
        "endpoints": {ENDPOINT: endpoint},
    }


def flags(rollout: int) -> dict[str, object]:
    """A flag file with one flag that exposes `rollout` percent of the users."""
    strategy = {
        "name": "flexibleRollout",
        "parameters": {"rollout": str(rollout), "stickiness": "userId", "groupId": FLAG},
        "constraints": [],
    }
    feature = {"name": FLAG, "type": "release", "enabled": True, "strategies": [strategy]}
    return {"version": 1, "features": [feature]}


class Pointsman:
    """A running gateway: supervisor, workers and control process. A context manager; leaving it ends them."""

    def __init__(self, setup: Setup, directory: Path, *, core: int | None = None) -> None:
        directory.mkdir(parents=True)
        self.port, self.admin = free_ports(2)
        self.workers = setup.workers
        path = directory / "pointsman.yaml"
        path.write_text(json.dumps(configuration(setup, directory, self.port, self.admin), indent=1))
        (directory / "flags.json").write_text(json.dumps(flags(setup.rollout), indent=1))
        self.api = httpx.Client(base_url=f"http://127.0.0.1:{self.admin}", timeout=60)
        command = [sys.executable, "-m", "gateway", "-c", str(path)]
        environment = {} if setup.accelerated else {"POINTSMAN_ACCELERATOR": "off"}
        self.child = Child(command, directory / "log", core=core, environment=environment)

    def __enter__(self) -> Pointsman:
        try:
            self.child.wait_port(self.port)
            self._wait_ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *reason: object) -> None:
        self.api.close()
        self.child.stop()

    def _wait_ready(self) -> None:
        seen: object = "no answer"
        for _ in ticks(20):
            try:
                seen = self.endpoint()
                if len(self.worker_pids()) == self.workers:
                    return
            except (httpx.HTTPError, KeyError) as error:
                seen = repr(error)
        raise BenchError(f"the gateway is not ready after 20 s: {seen}; {self.child.tail()}")

    def endpoint(self) -> dict[str, Any]:
        """What the admin API says of the endpoint."""
        answer = self.api.get(f"/api/v1/endpoints/{ENDPOINT}")
        answer.raise_for_status()
        document: dict[str, Any] = answer.json()
        return document

    def worker_pids(self) -> list[int]:
        return sorted(worker["pid"] for worker in self.endpoint()["workers"])

    def control_pid(self) -> int:
        """The control process, found among the supervisor's children by its command line."""
        for pid in children(self.child.pid):
            if "control" in command_line(pid):
                return pid
        raise BenchError("the supervisor has no control process among its children")

    def place_control(self, core: int) -> None:
        pin(self.control_pid(), core)

    def metric(self, name: str, labels: str = "") -> float:
        """The sum of the samples of `name` in /metrics whose labels contain `labels`."""
        return sum_samples(self.api.get("/metrics").text, name, labels)

    def rearm(self, reason: str) -> None:
        answer = self.api.post(f"/api/v1/endpoints/{ENDPOINT}/rearm", json={"reason": reason})
        if answer.is_error:
            raise BenchError(f"re-arm was refused: {answer.text}")


def sum_samples(text: str, name: str, labels: str = "") -> float:
    """The sum of the samples of `name` in a Prometheus text exposition whose labels contain `labels`."""
    total = 0.0
    for line in text.splitlines():
        head, _, value = line.rpartition(" ")
        if head.split("{", 1)[0] == name and labels in head:
            total += float(value)
    return total
