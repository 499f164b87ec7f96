"""Guards single blocks of encrypted editions: their repair, and who lacks the codec inside."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from damselfly.core.proxying.encrypting import EncryptRule
from damselfly.errors import BlockMissingError
from damselfly.services.cache_care.repairing import repair_by_download
from damselfly.services.encrypting.key_file import add_key
from damselfly.services.hosting.peer_host import PeerHost
from damselfly.services.options import CompressionMode, CompressionOptions, EncryptionOptions
from damselfly.storage.disk_entry import DiskEntry
from damselfly.transport.block_connection import BlockAnswer, BlockConnections
from damselfly.wire.cache_messages import CacheAnswer, CacheChanged, CacheListing, decode_json
from damselfly.wire.local_messages import DownloadRequest
from damselfly.wire.packed_block import CODEC_IDENTITY, frame_bytes_max
from damselfly.wire.packing import unpack
from fakes.source import FakeSource
from services.hosts import a_host, a_supernode

pytestmark = pytest.mark.slow

DATA = b"".join(b"%d: a line of a log that nobody else may read\n" % n for n in range(60_000))
SECRET = (EncryptRule(path="/secret/**"),)


@asynccontextmanager
async def a_sealing_supernode(folder: Path) -> AsyncIterator[str]:
    """Run a SuperNode that compresses and encrypts inside the block; gives its address."""
    keys = folder / "keys.toml"
    if not keys.exists():
        add_key(str(keys), "k1")
    async with a_supernode(
        folder,
        encryption=EncryptionOptions(keys=str(keys)),
        encrypt=SECRET,
        compression=CompressionOptions(mode=CompressionMode.ON),
    ) as address:
        yield address


async def get(host: PeerHost, url: str) -> None:
    """Download, and compare what comes with the content."""
    async with host.downloads.read(DownloadRequest(url=url)) as content:
        assert await content.read_all(bytes_max=len(DATA)) == DATA


def entry_of(host: PeerHost) -> DiskEntry:
    (entry,) = host._store.entries()
    assert isinstance(entry, DiskEntry)
    return entry


def lose_codecs(host: PeerHost) -> None:
    """Leave a host as one whose Python has no zstd."""
    for codec in list(host._store.codecs):
        host._store.put_aside(codec)


def spoil(folder: Path) -> None:
    """Turn a bit of a sealed body around, and set the time stamp back, as bit rot does."""
    (packed,) = (folder / "editions").glob("*/*/*/packed")
    times = packed.stat()
    data = bytearray(packed.read_bytes())
    data[len(data) // 2] ^= 1
    packed.write_bytes(data)
    os.utime(packed, ns=(times.st_atime_ns, times.st_mtime_ns))


# --- repair


async def test_a_host_repairs_a_sealed_block_that_it_could_not_even_read(tmp_path: Path) -> None:
    async with FakeSource() as source, a_sealing_supernode(tmp_path) as address:
        source.add("/secret/f", DATA)
        async with a_host(tmp_path, "ann", address) as ann:
            await get(ann, source.url("/secret/f"))
        spoil(tmp_path / "ann")
        async with a_host(tmp_path, "ann", address) as ann:
            entry = entry_of(ann)
            assert entry.is_locked
            (bad,) = [index for index in entry.held if not entry.is_block_right(index)]

            assert entry.forget_block(bad)
            await repair_by_download(ann.downloads, entry)

            assert entry.is_sealed
            assert entry.is_block_right(bad)
            await get(ann, source.url("/secret/f"))
        assert source.count() == 1


async def ask(socket: str, action: str = "") -> CacheAnswer:
    """Ask a SuperNode what is in its cache, or order something of it."""
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(socket)) as client:
        url = "http://supernode/v1/cache"
        asked = client.post(url, json={"action": action}) if action else client.get(url)
        async with asked as answer:
            said: CacheAnswer = decode_json(await answer.read(), CacheAnswer)
            return said


async def test_a_supernode_repairs_a_sealed_block_from_a_host(tmp_path: Path) -> None:
    """Both were started anew: the host passes on what it cannot read."""
    async with FakeSource() as source:
        source.add("/secret/f", DATA)
        async with a_sealing_supernode(tmp_path) as address, a_host(tmp_path, "a", address) as host:
            # A reader may be gone before the end was checked; then the host holds no whole.
            await host.downloads.get(DownloadRequest(url=source.url("/secret/f")), lambda _: None)
        spoil(tmp_path / "supernode")
        async with a_sealing_supernode(tmp_path) as address, a_host(tmp_path, "a", address) as host:
            async with asyncio.timeout(20):
                while not host.is_connected:
                    await asyncio.sleep(0.02)
            socket = str(tmp_path / "supernode" / "supernode.sock")

            changed = await ask(socket, "verify")
            assert isinstance(changed, CacheChanged)
            assert len(changed.damaged) == 1
            is_whole = False
            async with asyncio.timeout(20):
                while not is_whole:
                    await asyncio.sleep(0.02)
                    again = await ask(socket, "verify")
                    assert isinstance(again, CacheChanged)
                    is_whole = any(each.is_sealed for each in again.tasks) and not again.damaged

            listing = await ask(socket)
            assert isinstance(listing, CacheListing)
            assert listing.used_bytes < len(DATA) // 4  # the block came compressed as well
        assert source.count() == 1


# --- a codec inside a seal


async def test_a_host_without_the_codec_inside_a_seal_gets_the_content(tmp_path: Path) -> None:
    async with FakeSource() as source, a_sealing_supernode(tmp_path) as address:
        source.add("/secret/f", DATA)
        async with (
            a_host(tmp_path, "ann", address) as ann,
            a_host(tmp_path, "bob", address) as bob,
        ):
            lose_codecs(bob)
            await get(ann, source.url("/secret/f"))
            await get(bob, source.url("/secret/f"))

            assert entry_of(ann).stored_bytes < len(DATA) // 4
            assert entry_of(bob).stored_bytes > len(DATA)  # sealed, and not compressed
            assert all(DATA[:100] not in path.read_bytes() for path in packed_files(tmp_path))
        assert source.count() == 1


def packed_files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("editions/**/*") if path.is_file()]


async def test_who_lacks_the_codec_inside_a_seal_is_sent_the_block_sealed_without_it(
    tmp_path: Path,
) -> None:
    async with FakeSource() as source, a_sealing_supernode(tmp_path) as address:
        source.add("/secret/f", DATA)
        async with a_host(tmp_path, "ann", address) as ann:
            await get(ann, source.url("/secret/f"))
            entry = entry_of(ann)
            edition = entry.edition

            answer = await fetch_without_codecs(ann)
            header = answer.header
            assert (header.codec, header.key_id) == (CODEC_IDENTITY, edition.key_id)
            plain = unpack(header, answer.body, codecs={}, key=entry.data_key)
            assert plain == DATA[: len(plain)]

            # Without its key it gives no such block, not even one of which it knows the bytes.
            entry.data_key = None
            with pytest.raises(BlockMissingError):
                await fetch_without_codecs(ann)


async def fetch_without_codecs(host: PeerHost) -> BlockAnswer:
    """Ask a host for its first block as one that knows the cipher and no codec."""
    connections = BlockConnections("h-bob")
    edition = entry_of(host).edition
    length = len(edition.layout.span(0))
    try:
        return await connections.fetch(
            *(host.address, edition.edition_id, 0),
            memoryview(bytearray(frame_bytes_max(length, is_packed=True))),
            parent=host.host_id,
            ciphers=(edition.cipher,),
        )
    finally:
        connections.close()
