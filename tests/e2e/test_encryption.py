"""Encrypted contents with real processes: who may have them reads them, everybody else nothing.

All that goes between the processes passes a relay that keeps it, and all files of all caches are
searched: there is neither the content nor its key in any of it.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import msgspec
import pytest

from damselfly.services.encrypting.key_file import KeyFile
from damselfly.services.encrypting.key_providers import WrappedKey
from damselfly.wire import session_messages as wire
from damselfly.wire.packed_block import HEADER_BYTES, PackedHeader
from e2e.processes import BIN, Running, Site, a_site, damselfly, dfget, run
from engines.programs import free_port
from fakes.source import FakeSource

pytestmark = pytest.mark.slow

GOOD, BAD = "Authorization: Bearer good", "Authorization: Bearer bad"
_WORDS = random.Random(1).randbytes(4000).hex().encode()
DATA = random.Random(2).randbytes(2_500_000) + _WORDS * 200  # what compresses, and what does not
STEP_BYTES, SLICE_BYTES = 4096, 24


class Relay:
    """Stands before a process, and keeps what goes either way."""

    def __init__(self) -> None:
        self.kept = bytearray()
        self.address = ""
        self.target = ""
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def running(self, target: str = "") -> AsyncIterator["Relay"]:
        self.target = target
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            if self._tasks:
                await asyncio.wait(self._tasks)
            await asyncio.sleep(0)  # what was aborted is closed by the loop

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        ends = [writer]
        host, _, port = self.target.rpartition(":")
        try:
            to_reader, to_writer = await asyncio.open_connection(host, int(port))
            ends.append(to_writer)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._pass(reader, to_writer))
                tasks.create_task(self._pass(to_reader, writer))
        except* (OSError, asyncio.CancelledError):
            pass
        finally:
            for end in ends:
                end.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            self.kept += data
            writer.write(data)
            await writer.drain()
        writer.close()


class Swarm:
    """A SuperNode that encrypts, and hosts; relays before all of them."""

    def __init__(self, site: Site, source: FakeSource, stack: AsyncExitStack) -> None:
        self.site, self.source = site, source
        self.keys = site.path("keys.toml")
        self.relays: list[Relay] = []
        self._stack = stack
        self.outside = Relay()  # before the SuperNode

    async def relay(self, target: str) -> Relay:
        relay = await self._stack.enter_async_context(Relay().running(target))
        self.relays.append(relay)
        return relay

    async def start_supernode(self, settings: str = "") -> Running:
        if not self.keys.exists():
            assert (await damselfly("keys", "add", str(self.keys), "k1")).code == 0
        config = self.site.path("supernode.toml")
        config.write_text(
            f'[supernode.encryption]\nkeys = "{self.keys}"\n'
            f'[[supernode.encrypt]]\npath = "/private/**"\n{settings}'
        )
        supernode = await self.site.supernode("--config", str(config))
        if not self.outside.address:
            self.outside = await self.relay(supernode.address)
        self.outside.target = supernode.address
        return supernode

    async def start_host(self, name: str) -> Running:
        relay = await self.relay(f"127.0.0.1:{free_port()}")
        flags = ("--advertise", relay.address)
        return await self.site.daemon(name, self.outside.address, *flags, listen=relay.target)

    def everything(self) -> Iterable[tuple[str, bytes]]:
        """Yield all that lies in caches and logs, and all that went between the processes."""
        for number, relay in enumerate(self.relays):
            yield f"relay {number}", bytes(relay.kept)
        outputs = {self.site.path(name) for name in ("out-a", "out-b", "out-c", "keys.toml")}
        for path in self.site.folder.rglob("*"):
            if path.is_file() and path not in outputs:
                yield str(path), path.read_bytes()

    def data_keys(self) -> list[bytes]:
        """Return the data keys of all editions of the SuperNode, as its key file unwraps them."""
        provider, found = KeyFile(str(self.keys)), []
        for known in self.known():
            wrapped = WrappedKey(known.key_name, known.wrapped_key)
            context = f"damselfly data key of edition {known.edition_id}".encode()
            found.append(provider.unwrap(wrapped, context=context))
        return found

    def editions(self) -> list[str]:
        return [known.edition_id for known in self.known()]

    def known(self) -> list["EditionFile"]:
        """Return what the SuperNode has written down of its editions."""
        paths = self.site.path("supernode").rglob("edition.json")
        return [msgspec.json.decode(path.read_bytes(), type=EditionFile) for path in paths]


class EditionFile(msgspec.Struct):
    edition_id: str
    key_name: str = ""
    wrapped_key: bytes = b""


@pytest.fixture
async def swarm(tmp_path: Path) -> AsyncIterator[Swarm]:
    async with AsyncExitStack() as stack:
        source = await stack.enter_async_context(FakeSource())
        site = await stack.enter_async_context(a_site(tmp_path))
        for path in ("/private/f", "/public/f"):
            source.add(path, DATA, accepted={"Bearer good"})
        yield Swarm(site, source, stack)


def assert_unreadable(swarm: Swarm) -> None:
    """Search everything for the content, and for its keys."""
    slices = [DATA[start : start + SLICE_BYTES] for start in range(0, len(DATA), STEP_BYTES)]
    keys = swarm.data_keys()
    assert keys
    wanted = [*set(slices), *keys, *(key.hex().encode() for key in keys)]
    found = [name for name, blob in swarm.everything() for each in wanted if each in blob]
    assert found == []


async def get(
    swarm: Swarm,
    host: Running,
    output: str,
    *flags: str,
    header: str = GOOD,
    path: str = "/private/f",
) -> int:
    where = ("--socket", host.socket, "--header", header, "-O", swarm.site.path(output))
    ended = await dfget(swarm.source.url(path), *where, *flags)
    if not ended.code:
        assert swarm.site.path(output).read_bytes() == DATA
    return ended.code


async def test_who_may_read_it_does_and_it_is_nowhere_in_plain(swarm: Swarm) -> None:
    await swarm.start_supernode()
    ann, bob = await swarm.start_host("ann"), await swarm.start_host("bob")

    assert await get(swarm, ann, "out-a") == 0
    assert await get(swarm, bob, "out-b") == 0

    kept = b"".join(bytes(relay.kept) for relay in swarm.relays)
    assert kept.count(b"DMFB") > 10  # blocks did go past the relays
    assert kept.count(b"sealed_key") == 2  # a key for each host
    assert_unreadable(swarm)


async def test_who_may_not_gets_neither_key_nor_content(swarm: Swarm) -> None:
    await swarm.start_supernode()
    ann, eve = await swarm.start_host("ann"), await swarm.start_host("eve")
    assert await get(swarm, ann, "out-a") == 0
    (edition_id,) = swarm.editions()

    assert await get(swarm, eve, "out-c", header=BAD) == 12
    assert not swarm.site.path("out-c").exists()
    assert not list(swarm.site.path("eve").rglob("*.blocks"))
    async with aiohttp.ClientSession() as client:
        block = await client.get(f"http://{ann.address}/v1/editions/{edition_id}/blocks/0")
        body = await block.read()
        assert isinstance(await ask_for_key(client, swarm, edition_id), wire.Failed)

    header = PackedHeader.decode(body, codecs=range(256), ciphers=(1,))
    assert header.cipher == 1
    assert DATA[:SLICE_BYTES] not in body[HEADER_BYTES:]
    assert_unreadable(swarm)


async def ask_for_key(
    client: aiohttp.ClientSession, swarm: Swarm, edition_id: str
) -> wire.SuperNodeMessage:
    """Ask for a key in a session that never joined, as who knows the protocol would."""
    async with client.ws_connect(f"http://{swarm.outside.address}/v1/session") as session:
        hello = wire.Hello(protocol=wire.PROTOCOL, host_id="h-eve2", address="", ciphers=(1,))
        asked = wire.KeyAsked(task_id="", edition_id=edition_id, public_key=bytes(range(32)))
        for message in (hello, asked):
            await session.send_bytes(wire.host_codec.encode(message))
        answers: list[wire.SuperNodeMessage] = []
        while len(answers) < 2:
            answers += wire.supernode_codec.decode_all(await session.receive_bytes())
        return answers[1]


async def test_one_user_may_wish_it_and_then_it_is_so_or_fails(swarm: Swarm) -> None:
    await swarm.start_supernode()
    ann = await swarm.start_host("ann")

    assert await get(swarm, ann, "out-a", "--encrypt", path="/public/f") == 0

    assert_unreadable(swarm)
    without_keys = await swarm.site.daemon("bob", "")
    assert await get(swarm, without_keys, "out-b", "--encrypt", path="/public/f") == 53
    assert not swarm.site.path("out-b").exists()
    assert_unreadable(swarm)


async def test_after_a_restart_a_host_asks_again_and_cannot_read_alone(swarm: Swarm) -> None:
    supernode = await swarm.start_supernode()
    ann = await swarm.start_host("ann")
    assert await get(swarm, ann, "out-a") == 0
    await supernode.kill()
    await ann.kill()

    ann = await swarm.start_host("ann")
    assert await get(swarm, ann, "out-b", "--no-source", "--timeout", "8s") != 0
    assert await get(swarm, ann, "out-b", "--timeout", "20s") == 53  # and not in plain either
    assert not swarm.site.path("out-b").exists()
    read_before = len(swarm.source.requests)
    await swarm.start_supernode()
    assert await get(swarm, ann, "out-c") == 0

    assert [r for r in swarm.source.requests[read_before:] if r.method == "GET"] == []
    assert_unreadable(swarm)


async def test_a_key_that_is_gone_costs_a_reading_and_a_file_that_others_read_the_start(
    swarm: Swarm,
) -> None:
    supernode = await swarm.start_supernode()
    ann = await swarm.start_host("ann")
    assert await get(swarm, ann, "out-a") == 0
    await supernode.stop()
    swarm.keys.unlink()

    await swarm.start_supernode()
    assert await get(swarm, ann, "out-b") == 0
    swarm.keys.chmod(0o644)
    flags = ("--config", str(swarm.site.path("supernode.toml")), "--listen", "127.0.0.1:0")
    data = ("--data", str(swarm.site.path("other")))
    refused = await run(str(BIN / "damselfly"), "supernode", *flags, *data)

    assert refused.code == 53
    assert "run chmod 600 on it" in refused.err
    assert len(refused.err.strip().splitlines()) == 1
