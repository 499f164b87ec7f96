"""Hosts that only talk: many sessions with one SuperNode out of one process.

`joins.py` starts a few of these. Each message is real and goes over a WebSocket of its own;
only the blocks are imagined: a host says that it holds more as time passes. A client of our
own instead of a library's, or the hosts would cost more than the SuperNode that is measured.

Commands are JSON lines on standard input, each answered by a JSON line on standard output.
"""

import asyncio
import base64
import contextlib
import gc
import json
import os
import random
import resource
import statistics
import sys
import time
from typing import Any

from damselfly.core.task import TaskSpec
from damselfly.errors import RemoteProtocolError
from damselfly.wire import session_messages as wire

UPGRADE = (
    "GET /v1/session HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
)
PING, PONG, CLOSE, BINARY = 9, 10, 8, 2
SHORT, LONG = 126, 1 << 16
RACK_HOSTS = 40


def frame(payload: bytes, opcode: int = BINARY) -> bytes:
    """Return a client's frame; masked with zeros, which is legal and costs nothing."""
    size = len(payload)
    if size < SHORT:
        head = bytes((0x80 | opcode, 0x80 | size))
    elif size < LONG:
        head = bytes((0x80 | opcode, 0x80 | SHORT)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, 0xFF)) + size.to_bytes(8, "big")
    return head + b"\0\0\0\0" + payload


class Task:
    """One task of one host.

    Attributes:
        joined_s: When it was told the edition and whom to ask, None until then.
    """

    def __init__(self, begun_s: float, spec: TaskSpec) -> None:
        self.begun_s, self.spec = begun_s, spec
        self.edition_id = ""
        self.block_count = 0
        self.listed = 0
        self.has_parents = False
        self.is_sealed = False
        self.joined_s: float | None = None
        self.held = 0


class Host(asyncio.Protocol):
    """One session."""

    def __init__(self, crowd: "Crowd", host_id: str, location: str) -> None:
        self._crowd = crowd
        self._host_id, self._location = host_id, location
        self._data = bytearray()
        self._is_upgraded = False
        self.is_welcome = asyncio.get_running_loop().create_future()
        self.refused = ""
        self.tasks: dict[str, Task] = {}
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for a session."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        key = base64.b64encode(os.urandom(16)).decode()
        transport.write(UPGRADE.format(host=self._crowd.address, key=key).encode())

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """It ended."""
        self.transport = None
        if not self.is_welcome.done():
            self.is_welcome.set_result(False)
        self._crowd.lost += not self._crowd.is_over

    def data_received(self, data: bytes) -> None:
        """Take in frames."""
        self._data += data
        if not self._is_upgraded:
            head, found, rest = self._data.partition(b"\r\n\r\n")
            if not found:
                return
            if not head.startswith(b"HTTP/1.1 101"):
                self.refused = bytes(head).decode()
                assert self.transport is not None
                self.transport.close()
                return
            self._data, self._is_upgraded = rest, True
            hello = wire.Hello(
                protocol=wire.PROTOCOL,
                host_id=self._host_id,
                address=":65000",
                location=self._location,
            )
            self.send(wire.host_codec.encode(hello))
        while self._take_frame():
            pass

    def _take_frame(self) -> bool:
        data = self._data
        if len(data) < 2:
            return False
        size, start = data[1], 2
        if size == SHORT:
            size, start = int.from_bytes(data[2:4], "big"), 4
        elif size > SHORT:
            size, start = int.from_bytes(data[2:10], "big"), 10
        if len(data) < start + size:
            return False
        opcode, payload = data[0] & 15, bytes(data[start : start + size])
        del data[: start + size]
        if opcode == BINARY:
            self._crowd.received += 1
            for message in wire.supernode_codec.decode_all(payload):
                self._on_message(message)
        elif opcode == PING and self.transport is not None:
            self.transport.write(frame(payload, PONG))
        elif opcode == CLOSE and self.transport is not None:
            self.transport.close()
        return bool(data)

    def _on_message(self, message: wire.SuperNodeMessage) -> None:
        if isinstance(message, wire.Welcome):
            self.is_welcome.set_result(True)
            return
        if isinstance(message, wire.Failed):
            raise RemoteProtocolError(message.message)
        task = self.tasks.get(getattr(message, "task_id", ""))
        if task is None:
            return
        if isinstance(message, wire.EditionTold):
            task.edition_id = message.edition_id
            task.block_count = -(-message.size_bytes // message.block_bytes)
        elif isinstance(message, wire.BlocksListed):
            task.listed += len(message.digests) // 32
        elif isinstance(message, wire.ParentsOffered):
            task.has_parents = True
        elif isinstance(message, wire.Sealed):
            task.is_sealed = True
        elif isinstance(message, wire.Busy):
            self._crowd.busy += 1
            pause_s = message.retry_after_s * self._crowd.jitter()
            asyncio.get_running_loop().call_later(pause_s, self._ask, task)
        if task.joined_s is None and task.edition_id and task.has_parents:
            task.joined_s = time.monotonic()

    def send(self, payload: bytes) -> None:
        """Send a message."""
        if self.transport is not None:
            self._crowd.sent += 1
            self.transport.write(frame(payload))

    def join(self, spec: TaskSpec) -> Task:
        """Ask for a task."""
        task = self.tasks[spec.task_id] = Task(time.monotonic(), spec)
        self._ask(task)
        return task

    def _ask(self, task: Task) -> None:
        spec = task.spec
        message = wire.Join(task_id=spec.task_id, url=spec.url, task_tag=spec.tag)
        self.send(wire.host_codec.encode(message))

    def tell(self, task_id: str, share: float, *, is_hungry: bool = False) -> None:
        """Say how far a task is."""
        task = self.tasks[task_id]
        if not task.edition_id:
            return
        task.held = min(int(share * task.block_count), task.block_count)
        message = wire.Progress(
            task_id=task_id,
            edition_id=task.edition_id,
            held_count=task.held,
            is_hungry=is_hungry,
            is_idle=task.held > 0,
            is_whole=task.held == task.block_count,
        )
        self.send(wire.host_codec.encode(message))


class Crowd:
    """The hosts of this process."""

    def __init__(self, address: str, number: int, url: str) -> None:
        self.address = address
        self._number = number
        self._url = url
        self._rng = random.Random(number)
        self.hosts: list[Host] = []
        self.sent = self.received = self.lost = self.busy = 0
        self.is_over = False

    def jitter(self) -> float:
        """Return by how much longer than it was told a host waits, as daemons do."""
        return self._rng.uniform(1, 1.5)

    async def _arrive(self, index: int, delay_s: float, begun_s: float) -> tuple[Host, float]:
        """Open one session, again as daemons do if it is refused; return it and its latency."""
        await asyncio.sleep(max(begun_s + delay_s - time.monotonic(), 0))
        arrived_s = time.monotonic()
        ip, port = self.address.split(":")
        while True:
            number = self._number * 1_000_000 + index
            location = f"zone/rack-{(self._number * 1000) + index // RACK_HOSTS}"
            try:
                _, host = await asyncio.get_running_loop().create_connection(
                    lambda: Host(self, f"host-{number}", location),  # noqa: B023
                    ip,
                    int(port),
                )
            except OSError:
                self.busy += 1
                await asyncio.sleep(self._rng.uniform(0, 1))
                continue
            if await host.is_welcome:
                self.hosts.append(host)
                return host, time.monotonic() - arrived_s
            self.busy += 1
            self.lost -= 1
            after_s = 1.0
            for line in host.refused.split("\r\n"):
                if line.lower().startswith("retry-after:"):
                    after_s = float(line.split(":")[1])
            await asyncio.sleep(after_s * self.jitter())

    async def open(self, count: int, over_s: float, tag: str = "") -> dict[str, Any]:
        """Open sessions evenly over a time; with a tag each joins a task at once."""
        begun_s = time.monotonic()
        spec = TaskSpec(url=self._url, tag=tag)
        latencies: list[float] = []

        async def one(index: int) -> None:
            host, latency = await self._arrive(index, over_s * index / count, begun_s)
            if tag:
                latency += await self._joined(host, spec)
            latencies.append(latency)

        async with asyncio.TaskGroup() as group:
            for index in range(count):
                group.create_task(one(index))
        return {"seconds": time.monotonic() - begun_s, **_summary(latencies)}

    async def _joined(self, host: Host, spec: TaskSpec) -> float:
        task = host.join(spec)
        while task.joined_s is None:
            await asyncio.sleep(0.02 if time.monotonic() - task.begun_s < 0.1 else 0.2)
        return task.joined_s - task.begun_s

    async def join(self, tag: str, over_s: float) -> dict[str, Any]:
        """Join a task on all sessions, evenly over a time."""
        begun_s = time.monotonic()
        spec = TaskSpec(url=self._url, tag=tag)
        latencies: list[float] = []

        async def one(number: int, host: Host) -> None:
            await asyncio.sleep(over_s * number / len(self.hosts))
            latencies.append(await self._joined(host, spec))

        async with asyncio.TaskGroup() as group:
            for number, host in enumerate(self.hosts):
                group.create_task(one(number, host))
        return {"seconds": time.monotonic() - begun_s, **_summary(latencies)}

    async def progress(self, tag: str, rate: float, for_s: float, hungry: float) -> dict[str, Any]:
        """All say how far they are, in turn, at a rate; some of them are hungry."""
        task_id = TaskSpec(url=self._url, tag=tag).task_id
        begun_s, sent = time.monotonic(), 0
        while (passed_s := time.monotonic() - begun_s) < for_s:
            for _ in range(int(passed_s * rate) - sent):
                host = self.hosts[sent % len(self.hosts)]
                sent += 1
                # Never whole: there would be nothing left to say.
                is_hungry = self._rng.random() < hungry
                host.tell(task_id, 0.9 * passed_s / for_s, is_hungry=is_hungry)
            await asyncio.sleep(0.005)
        return {"sent": sent, "seconds": time.monotonic() - begun_s}

    async def download(self, tag: str, seconds: float, every_s: float) -> dict[str, Any]:
        """All hold the content after a while, and say so as they go."""
        task_id = TaskSpec(url=self._url, tag=tag).task_id
        begun_s = time.monotonic()

        async def one(host: Host) -> None:
            await asyncio.sleep(self._rng.uniform(0, every_s))
            own_s = time.monotonic()
            while (passed_s := time.monotonic() - own_s) < seconds:
                host.tell(task_id, passed_s / seconds, is_hungry=self._rng.random() < 0.1)
                await asyncio.sleep(every_s)
            host.tell(task_id, 1.0)

        async with asyncio.TaskGroup() as group:
            for host in self.hosts:
                group.create_task(one(host))
        return {"seconds": time.monotonic() - begun_s}

    async def counts(self, tag: str = "") -> dict[str, Any]:
        """Return what was counted."""
        task_id = TaskSpec(url=self._url, tag=tag).task_id
        tasks = [host.tasks[task_id] for host in self.hosts if task_id in host.tasks]
        return {
            "sent": self.sent,
            "received": self.received,
            "lost": self.lost,
            "busy": self.busy,
            "listed": sum(task.listed == task.block_count for task in tasks),
            "sealed": sum(task.is_sealed for task in tasks),
        }


def _summary(latencies: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(latencies, n=100)
    return {"p50_s": cuts[49], "p99_s": cuts[98], "max_s": max(latencies)}


async def main() -> None:
    """Carry out commands until there are no more."""
    gc.disable()  # they stand for 10,000 machines, which do not all pause at the same time
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    crowd = Crowd(sys.argv[1], int(sys.argv[2]), sys.argv[3])
    commands = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(commands), sys.stdin
    )
    while line := await commands.readline():
        command = json.loads(line)
        answer = await getattr(crowd, command.pop("do"))(**command)
        print(json.dumps(answer), flush=True)
    crowd.is_over = True


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())
