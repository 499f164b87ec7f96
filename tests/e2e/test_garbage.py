"""Garbage on ports and socket: the process lives, its memory is bounded, others are served."""

import asyncio
import contextlib
import os
import random
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from damselfly.services.options import UploadOptions
from e2e.processes import Running, Site, a_site, dfget
from fakes.source import FakeSource

pytestmark = pytest.mark.slow

MIB = 1 << 20
DATA = random.Random(3).randbytes(4 * MIB)
BIG = random.Random(4).randbytes(32 * MIB)  # its blocks are larger than what the kernel buffers
GROWTH_BYTES_MAX = 64 * MIB
SLOTS = UploadOptions().slots

UPGRADE = (
    b"GET %s HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
SESSION = UPGRADE % b"/v1/session"
POST = b"POST /v1/downloads HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"

GARBAGE = {
    "random": random.Random(1).randbytes(1 << 16),
    "http2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0" * 100,
    "tls": bytes.fromhex("16030100c8010000c40303") + b"\0" * 200,
    "huge header": b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * MIB + b"\r\n\r\n",
    "many headers": b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: a\r\n" * 100_000 + b"\r\n",
    "huge line": b"GET /" + b"a" * MIB + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "huge body": POST % (10 * MIB) + b"a" * (10 * MIB),
    "wrong length": POST.replace(b"%d", b"-1") + b"{}",
    "no json": POST % 2 + b"[}",
    "nested json": POST % 100_000 + b"[" * 100_000,
    "wrong json": POST % 12 + b'{"url": [1]}',
    "no websocket": b"GET /v1/session HTTP/1.1\r\nHost: x\r\n\r\n",
    "wild block": b"GET /v1/editions/../../../etc/blocks/0 HTTP/1.1\r\nHost: x\r\n\r\n",
    "wild download": b"GET /v1/downloads/../../etc/passwd/content HTTP/1.1\r\nHost: x\r\n\r\n",
    "websocket of nothing": (
        SESSION + b"\x82\xff" + (10 * MIB).to_bytes(8, "big") + b"\0" * (10 * MIB + 4)
    ),
    "websocket of fragments": SESSION + (b"\x02\xfe\xff\xff" + b"\0" * (4 + 65535)) * 160,
    "websocket of text": SESSION + b"\x81\x82\0\0\0\0hi",
    "websocket of no message": SESSION + b"\x82\x82\0\0\0\0hi",
}


@dataclass(frozen=True)
class Target:
    """Where garbage goes: an address or a path, and the process that gets it."""

    where: str
    process: Running

    def connect(self, *, receive_bytes: int = 0) -> socket.socket:
        is_path = self.where.startswith("/")
        sock = socket.socket(socket.AF_UNIX if is_path else socket.AF_INET)
        if receive_bytes:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        sock.settimeout(15)
        host, _, port = self.where.rpartition(":")
        try:
            sock.connect(self.where if is_path else (host, int(port)))
        except OSError:
            sock.close()
            raise
        return sock

    def send(self, data: bytes) -> None:
        """Send bytes and wait until the other side has had enough of them."""
        with self.connect() as sock, contextlib.suppress(OSError):
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(1 << 16):
                pass

    @property
    def resident_bytes(self) -> int:
        fields = Path(f"/proc/{self.process.pid}/statm").read_text().split()
        return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Place:
    """A source, a SuperNode and a daemon."""

    site: Site
    source: FakeSource
    url: str
    supernode: Running
    daemon: Running

    def target(self, name: str) -> Target:
        return {
            "supernode": Target(self.supernode.address, self.supernode),
            "daemon": Target(self.daemon.address, self.daemon),
            "socket": Target(self.daemon.socket, self.daemon),
        }[name]

    async def still_serves(self) -> None:
        """Download anew through both."""
        output = self.site.path("out")
        ended = await dfget(self.url, "-O", output, "--socket", self.daemon.socket)
        assert ended.code == 0, ended.err
        assert output.read_bytes() == DATA


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with a_site(tmp_path) as site, FakeSource() as source:
        source.add("/f", DATA)
        supernode = await site.supernode()
        daemon = await site.daemon("host", supernode.address)
        yield Place(site, source, source.url("/f"), supernode, daemon)


@contextlib.contextmanager
def many(target: Target, count: int, data: bytes) -> Iterator[list[socket.socket]]:
    """Hold many connections that have sent some bytes and say nothing more."""
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(target.connect()) for _ in range(count)]
        for sock in held:
            with contextlib.suppress(OSError):
                sock.sendall(data)
        yield held


@pytest.mark.parametrize("name", ["supernode", "daemon", "socket"])
async def test_garbage_costs_neither_the_process_nor_memory(place: Place, name: str) -> None:
    target = place.target(name)
    before = target.resident_bytes

    for data in GARBAGE.values():
        await asyncio.to_thread(target.send, data)

    assert target.resident_bytes - before < GROWTH_BYTES_MAX
    await place.still_serves()
    log = target.process.log.read_text()
    assert "Traceback" not in log
    assert '"level": "error"' not in log


@pytest.mark.parametrize("name", ["supernode", "daemon", "socket"])
async def test_slow_loris_is_held_cheaply_and_others_are_served(place: Place, name: str) -> None:
    target = place.target(name)
    before = target.resident_bytes

    with many(target, 2000, b"GET /healthy HTTP/1.1\r\nHost: x\r\nX-Slow: "):
        await place.still_serves()

        assert target.resident_bytes - before < GROWTH_BYTES_MAX


async def test_sessions_that_stop_in_the_middle_of_a_hello_are_closed(place: Place) -> None:
    target = place.target("supernode")
    before = target.resident_bytes
    half_a_message = b"\x82\xff" + MIB.to_bytes(8, "big") + b"\0" * (MIB // 2)

    with many(target, 40, SESSION + half_a_message) as held:
        await place.still_serves()
        assert target.resident_bytes - before < GROWTH_BYTES_MAX
        ended = [await asyncio.to_thread(read_to_the_end, sock) for sock in held]

    assert all(ended)


def read_to_the_end(sock: socket.socket) -> bool:
    """Return whether the other side closes, within the timeout of the socket."""
    try:
        while sock.recv(1 << 16):
            pass
    except TimeoutError:
        return False
    except OSError:
        pass
    return True


async def text_of(client: aiohttp.ClientSession, target: Target, path: str) -> str:
    async with client.get(f"http://{target.where}{path}") as answer:
        return await answer.text()


async def test_children_that_take_no_bytes_lose_their_slots(place: Place) -> None:
    place.source.add("/f", BIG)
    ended = await dfget(place.url, "-O", place.site.path("big"), "--socket", place.daemon.socket)
    assert ended.code == 0, ended.err
    target = place.target("daemon")
    async with aiohttp.ClientSession() as client:
        async with client.get(f"http://{target.where}/api/v1/tasks") as answer:
            task = (await answer.json())["tasks"][0]
        path = f"/v1/editions/{task['edition_id']}/blocks/0"
        stalled = [target.connect(receive_bytes=4096) for _ in range(SLOTS)]
        for number, sock in enumerate(stalled):
            request = f"GET {path} HTTP/1.1\r\nHost: x\r\nDamselfly-Host: h-{number}\r\n\r\n"
            sock.sendall(request.encode())
        statuses, body = [], b""
        async with asyncio.timeout(40):
            while f"damselfly_uploads_running {SLOTS}.0" not in await text_of(
                client, target, "/metrics"
            ):
                await asyncio.sleep(0.05)
            while 200 not in statuses:  # until the slots are free again
                async with client.get(f"http://{target.where}{path}") as answer:
                    statuses.append(answer.status)
                    body = await answer.read()
        for sock in stalled:
            sock.close()

    assert set(statuses) == {429, 200}
    assert '"level": "error"' not in place.daemon.log.read_text()
    assert BIG[: task["block_bytes"]] in body
