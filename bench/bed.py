"""The test bed of one scenario: model servers, the load, the peers that could be started, the gateway."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

from bench import cpu, wrk
from bench.cpu import Sample, Subject
from bench.peers import PEERS, nginx
from bench.peers.peer import Route
from bench.pointsman import Pointsman, Setup
from bench.process import BenchError, Child, cores, free_ports
from bench.traffic import answer, requests
from gateway import accelerator, head

DIFFERENT_REQUESTS = 20_000
PURE = "pointsman, pure Python"
ACCELERATED = "pointsman, accelerated"
MODEL_SERVER = "(the model server alone)"
# Neighbours in time are compared most fairly: the gateway goes right after those it costs about as much as.
ORDER = ("nginx", "haproxy", PURE, ACCELERATED, "envoy", "traefik", "naive")


def accelerator_is_built() -> bool:
    """Whether all that the gateway can have compiled is compiled here, from the source as it is."""
    return head.ACCELERATED and accelerator.usable()


class Bed:
    """What is started around a scenario; everything ends with `stack`."""

    def __init__(self, directory: Path, stack: ExitStack, wanted: Sequence[str]) -> None:
        directory.mkdir(parents=True)
        self.directory = directory
        self.core, self.load_core = cores()
        self.subjects: list[Subject] = []
        self.gateways: dict[str, Pointsman] = {}
        self.absent: dict[str, str] = {}
        self._servers: dict[int, Child] = {}
        self._stack = stack
        self._wanted = wanted
        self._requests = directory / "requests"

    def model_servers(self, *answers: bytes) -> list[int]:
        """An nginx on the load's core with one server for each answer; returns their ports."""
        ports = free_ports(len(answers))
        directory = self.directory
        servers = nginx.model_servers(list(zip(ports, answers, strict=True)), directory)
        child = self._stack.enter_context(nginx.start(servers, directory / "servers", self.load_core))
        for port in ports:
            child.wait_port(port)
        self.model_server = Subject(MODEL_SERVER, ports[0], nginx.worker(child))
        return ports

    def small_model_servers(self) -> tuple[int, int]:
        """Incumbent and candidate that answer one prediction; returns their ports."""
        incumbent, candidate = self.model_servers(answer("bench-1", 0.83), answer("bench-2", 0.82))
        return incumbent, candidate

    def misbehaving_model_server(self, mood: str) -> int:
        """A model server in that mood of bench.upstream; returns its port."""
        (port,) = free_ports(1)
        command = [sys.executable, "-m", "bench.upstream", "--port", str(port)]
        log = self.directory / f"{mood}.log"
        child = self._stack.enter_context(Child(command, log, core=self.load_core, commands=True))
        child.wait_port(port)
        child.command(mood)
        self._servers[port] = child
        return port

    def process_of(self, port: int) -> int:
        """The process of a misbehaving model server."""
        return self._servers[port].pid

    def change(self, port: int, mood: str) -> None:
        """The misbehaving model server is in that mood from now on."""
        self._servers[port].command(mood)

    def in_order(self) -> list[Subject]:
        """The subjects in the order they take their turns."""
        return sorted(self.subjects, key=lambda subject: ORDER.index(subject.name))

    def peers(self, route: Route) -> None:
        """Start the peers that were asked for on the measured core; who cannot start is noted, and why."""
        for name in self._wanted:
            peer = PEERS[name]
            reason = peer.absent(mirroring=route.candidate is not None)
            if reason is not None:
                self.absent[name] = reason
                continue
            (port,) = free_ports(1)
            try:
                child = peer.start(replace(route, port=port), self.directory / name, self.core)
                self._stack.enter_context(child).wait_port(port)
                self.subjects.append(Subject(name, port, peer.worker(child)))
            except BenchError as error:
                self.absent[name] = str(error)

    def pointsman(self, setup: Setup) -> None:
        """Start the gateway in pure Python, and beside it the accelerated one where there is one."""
        variants = {PURE: False} | ({ACCELERATED: True} if accelerator_is_built() else {})
        for name, accelerated in variants.items():
            directory = self.directory / f"gateway-{accelerated:d}"
            gateway = Pointsman(replace(setup, accelerated=accelerated), directory, core=self.core)
            self._stack.enter_context(gateway).place_control(self.load_core)
            (worker,) = gateway.worker_pids()
            self.gateways[name] = gateway
            self.subjects.append(Subject(name, gateway.port, worker, (gateway.control_pid(),)))

    def load(
        self, seconds: float, connections: int = 16, pause: int | None = None
    ) -> Callable[[int], wrk.Load]:
        """What `cpu.measure` takes: that load with small requests, or with those of `send`."""
        if not self._requests.exists():
            self.send(requests(DIFFERENT_REQUESTS))
        return partial(
            wrk.run,
            requests=self._requests,
            seconds=seconds,
            connections=connections,
            core=self.load_core,
            pause=pause,
        )

    def send(self, made: Sequence[bytes]) -> None:
        """From now on the load consists of these requests."""
        self._requests.write_bytes(b"\0".join(made))

    def warm_up(self, load: Callable[[int], wrk.Load]) -> None:
        """One turn of everybody; a peer that answers nothing is out, the gateway must answer."""
        for subject in self.in_order():
            try:
                cpu.measure(subject, load)
            except BenchError as error:
                if subject.name in self.gateways:
                    raise
                self.subjects.remove(subject)
                self.absent[subject.name] = str(error)

    def take_turns(self, rounds: int, load: Callable[[int], wrk.Load]) -> list[Sample]:
        """Everybody once a round."""
        return cpu.take_turns(self.in_order(), rounds, load)
