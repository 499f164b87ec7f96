"""Guards reading along: bytes come in order as soon as they are there, and never a wrong whole."""

import asyncio
import hashlib
import tempfile
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from damselfly.errors import DamselflyError, DigestMismatchError, SourceRefusedError
from damselfly.services.downloading.content import Content, Stretch
from damselfly.wire.local_messages import DownloadRequest
from fakes.source import FakeSource, random_bytes
from services.hosts import a_host, a_supernode

DATA = random_bytes(3_000_000, seed=5)
DIGEST = f"sha256:{hashlib.sha256(DATA).hexdigest()}"
BLOCK = 256 << 10


async def read(content: Content, start: int = 0, stop: int | None = None) -> bytes:
    return b"".join([each.read() async for each in content.stretches(start, stop)])


@pytest.fixture(params=["with a SuperNode", "without"])
def has_supernode(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "with a SuperNode")


async def test_content_is_read_while_the_source_still_sends(
    tmp_path: Path, *, has_supernode: bool
) -> None:
    async with FakeSource() as source, a_supernode(tmp_path) as supernode:
        lying = source.add("/file", DATA, stall_after_bytes=2 * BLOCK + 9)
        async with a_host(tmp_path, "ann", supernode if has_supernode else "") as host:
            request = DownloadRequest(url=source.url("/file"))
            async with host.downloads.read(request) as content:
                stretches = content.stretches()
                early = (await anext(stretches)).read() + (await anext(stretches)).read()
                assert early == DATA[: 2 * BLOCK]
                assert content.size_bytes == len(DATA)
                lying.release()
                rest = b"".join([each.read() async for each in stretches])

    assert early + rest == DATA
    assert source.count("GET") == 1


@pytest.mark.parametrize("size", [0, 1, 100_000, len(DATA)])
@pytest.mark.parametrize("has_digest", [True, False])
@pytest.mark.parametrize("chunked", [True, False])
async def test_contents_of_any_size_are_read_whole(
    tmp_path: Path, size: int, *, has_digest: bool, chunked: bool, has_supernode: bool
) -> None:
    data = DATA[:size]
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}" if has_digest else ""
    async with FakeSource() as source, a_supernode(tmp_path) as supernode:
        source.add("/file", data, chunked=chunked)
        async with a_host(tmp_path, "ann", supernode if has_supernode else "") as host:
            request = DownloadRequest(url=source.url("/file"), digest=digest)
            async with host.downloads.read(request) as content:
                got = await read(content)
                assert content.size_bytes == size
                assert content.bytes_by.total == size
            async with host.downloads.read(request) as content:
                again = await read(content, size // 3, size // 2)

    assert got == data
    assert again == data[size // 3 : size // 2]


async def test_wrong_whole_is_never_given_out_whole_and_leaves_nothing(
    tmp_path: Path, *, has_supernode: bool
) -> None:
    wrong = DATA[:-1] + bytes([DATA[-1] ^ 1])
    async with FakeSource() as source, a_supernode(tmp_path) as supernode:
        source.add("/file", wrong)
        async with a_host(tmp_path, "ann", supernode if has_supernode else "") as host:
            request = DownloadRequest(url=source.url("/file"), digest=DIGEST)
            got = bytearray()
            with pytest.raises(DigestMismatchError):  # noqa: PT012  # which bytes came is the point
                async with host.downloads.read(request) as content:
                    async for stretch in content.stretches():
                        got += stretch.read()

            assert host.tasks_seen() == []
    assert len(got) <= len(DATA) - len(DATA) % BLOCK
    assert wrong.startswith(got)


async def test_reader_that_goes_away_ends_nothing_for_another(tmp_path: Path) -> None:
    async with FakeSource() as source, a_supernode(tmp_path) as supernode:
        lying = source.add("/file", DATA, stall_after_bytes=BLOCK + 9)
        async with a_host(tmp_path, "ann", supernode) as host:
            request = DownloadRequest(url=source.url("/file"))
            async with host.downloads.read(request) as content:
                async with host.downloads.read(request) as other:
                    async for stretch in other.stretches():
                        assert stretch.count
                        break
                lying.release()
                assert await read(content) == DATA

    assert source.count("GET") == 1


@pytest.mark.parametrize("digest", [DIGEST, ""])
async def test_content_that_was_read_to_its_end_is_a_finished_download(
    tmp_path: Path, digest: str, *, has_supernode: bool
) -> None:
    # Whoever had the last byte was gone before the seal: the host left the swarm and its children.
    async with FakeSource() as source, a_supernode(tmp_path) as supernode:
        source.add("/file", DATA)
        request = DownloadRequest(url=source.url("/file"), digest=digest)
        async with a_host(tmp_path, "ann", supernode if has_supernode else "") as host:
            async with host.downloads.read(request) as content:
                assert await read(content) == DATA
            assert [each.state for each in host.downloads.seen.ended()] == ["finished"]


@pytest.mark.parametrize("is_read", [True, False])
async def test_program_that_closes_a_file_ends_a_download_only_before_it_is_whole(
    tmp_path: Path, *, is_read: bool
) -> None:
    async with FakeSource() as source, a_host(tmp_path, "ann") as host:
        content = source.add("/file", DATA, stall_after_bytes=-1 if is_read else BLOCK)
        has_read = asyncio.Event()

        async def keep_open() -> None:
            request = DownloadRequest(url=source.url("/file"))
            async with host.downloads.read(request) as opened:
                if is_read:
                    assert await read(opened) == DATA
                has_read.set()
                await asyncio.Event().wait()

        keeping = asyncio.ensure_future(keep_open())
        await has_read.wait()
        keeping.cancel()
        await asyncio.wait([keeping])
        content.release()
        outcome = "finished" if is_read else "cancelled"
        assert host.metrics.downloads.labels(outcome)._value.get() == 1


async def test_many_readers_share_one_download(tmp_path: Path) -> None:
    async with FakeSource() as source, a_supernode(tmp_path) as supernode:
        source.add("/file", DATA)
        async with a_host(tmp_path, "ann", supernode) as host:
            request = DownloadRequest(url=source.url("/file"), digest=DIGEST)

            async def one(start: int) -> bytes:
                async with host.downloads.read(request) as content:
                    return await read(content, start)

            async with asyncio.TaskGroup() as tasks:
                readers = {start: tasks.create_task(one(start)) for start in (0, 5, BLOCK, 10**6)}

    assert all(reader.result() == DATA[start:] for start, reader in readers.items())
    assert source.count("GET") == 1


async def test_source_that_breaks_midway_for_good_ends_the_reading_with_its_error(
    tmp_path: Path, *, has_supernode: bool
) -> None:
    async with FakeSource() as source, a_supernode(tmp_path) as supernode:
        source.add("/file", DATA, reset_after_bytes=2 * BLOCK + 9)
        async with a_host(tmp_path, "ann", supernode if has_supernode else "") as host:
            request = DownloadRequest(url=source.url("/file"))
            with pytest.raises(DamselflyError, match="file"):  # noqa: PT012
                async with host.downloads.read(request) as content:
                    source.contents.clear()
                    await read(content)


async def test_refusal_comes_before_any_byte(tmp_path: Path) -> None:
    async with (
        FakeSource() as source,
        a_supernode(tmp_path) as supernode,
        a_host(tmp_path, "ann", supernode) as host,
    ):
        with pytest.raises(SourceRefusedError) as caught:
            async with host.downloads.read(DownloadRequest(url=source.url("/none"))):
                pass

    assert caught.value.http_status == 404


async def test_what_is_sent_comes_in_order_and_whole(tmp_path: Path) -> None:
    path = tmp_path / "content"
    path.write_bytes(random_bytes(200_000, seed=1))
    with path.open("rb") as file:
        bodies = [bytes(each) async for each in Stretch(file, 100, 150_000).bodies()]

    assert b"".join(bodies) == random_bytes(200_000, seed=1)[100:150_100]
    assert len(bodies) > 1


class Counted(ThreadPoolExecutor):
    """Threads; counts what they are given to do."""

    count = 0

    def submit(self, *args: Any, **named: Any) -> Future[Any]:  # noqa: ANN401  # as its parent
        self.count += 1
        return super().submit(*args, **named)


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="there is no tmpfs")
async def test_where_nobody_can_say_what_is_in_memory_few_threads_do_much() -> None:
    data = random_bytes(3 << 20, seed=1)
    threads = Counted(1)
    asyncio.get_running_loop().set_default_executor(threads)
    with tempfile.TemporaryFile(dir="/dev/shm") as file:
        file.write(data)
        file.flush()
        stretch = Stretch(file, 100, len(data) - 100)
        bodies = [bytes(each) async for each in stretch.bodies()]

    assert b"".join(bodies) == data[100:]
    assert max(map(len, bodies)) == 64 << 10
    assert threads.count <= 3
