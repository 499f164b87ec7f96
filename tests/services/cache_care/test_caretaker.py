"""What is too old leaves; bytes that went wrong are found, never given out, and come again."""

import asyncio
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from damselfly.core.digest import Digest
from damselfly.core.task import EditionId, TaskId, TaskSpec
from damselfly.errors import NoProviderError
from damselfly.services.cache_care.caretaker import Caretaker
from damselfly.services.cache_care.repairing import repair_by_download, spec_again
from damselfly.services.options import CacheOptions
from damselfly.storage.memory import MemoryStore
from damselfly.storage.store import StoredEdition
from damselfly.telemetry.metrics import Metrics
from damselfly.wire.local_messages import DownloadRequest
from fakes.source import FakeSource
from services.files import no_more_files
from services.hosts import a_host, a_supernode
from storage.builders import (
    CONTENT_BYTES,
    HandClock,
    a_block,
    a_content,
    a_disk_store,
    an_edition,
    fill,
    seal,
)

CONTENT = a_content()


class Room:
    """A store and its caretaker, in which time passes when a test says so."""

    def __init__(self, *, ttl_s: float = 0.0, quota_bytes: int = 0) -> None:
        self.clock = HandClock()
        self.metrics = Metrics()
        self.store = MemoryStore(quota_bytes=quota_bytes, now_wall_s=self.clock)
        self.repaired: list[dict[int, bytes]] = []
        self.asked: list[list[EditionId]] = []
        self.can_repair = True
        self.care = Caretaker(
            self.store,
            CacheOptions(ttl_s=ttl_s, quota_bytes=quota_bytes, scrub_rate_bytes_per_s=1e9),
            repair=self._repair,
            ask_holders=lambda ids: self.asked.append(list(ids)),
            metrics=self.metrics,
            now_wall_s=self.clock,
        )

    async def _repair(self, entry: StoredEdition, digests: dict[int, bytes]) -> None:
        if not self.can_repair:
            raise NoProviderError(reason="nobody has it")
        self.repaired.append(digests)
        fill(entry, CONTENT)
        entry.seal(None)

    def add(self, name: int, task: int = 1) -> StoredEdition:
        entry = self.store.open(an_edition(name, task=task))
        seal(entry, CONTENT)
        entry.unpin()
        return entry


MakeRoom = Callable[..., Room]


async def never_called(entry: StoredEdition, digests: dict[int, bytes]) -> None:
    raise AssertionError(entry, digests)


@pytest.fixture
def make_room() -> Iterator[MakeRoom]:
    rooms: list[Room] = []

    def make(**limits: float) -> Room:
        rooms.append(Room(**limits))  # type: ignore[arg-type]  # names its arguments
        return rooms[-1]

    yield make
    for room in rooms:
        room.store.close()


def spoil(entry: StoredEdition, index: int) -> None:
    block = entry.sendable(index)
    assert block is not None
    (byte,) = os.pread(block.file.fileno(), 1, block.offset)
    os.pwrite(block.file.fileno(), bytes([byte ^ 1]), block.offset)


async def test_what_nobody_used_for_too_long_leaves(make_room: MakeRoom) -> None:
    room = make_room(ttl_s=100)
    old, pinned, kept = room.add(1), room.add(2), room.add(3)
    pinned.pin()
    kept.keep(is_kept=True)
    room.clock.wall_s += 90
    young = room.add(4)
    room.clock.wall_s += 11

    await room.care.sweep()

    assert old not in room.store.entries()
    assert set(map(id, room.store.entries())) == {id(pinned), id(kept), id(young)}
    assert room.metrics.value("damselfly_cache_expired_total") == 1


async def test_the_swarm_is_asked_about_the_oldest_only_when_room_is_short(
    make_room: MakeRoom,
) -> None:
    room = make_room(quota_bytes=5 * CONTENT_BYTES)
    entries = [room.add(name) for name in range(1, 5)]
    await room.care.sweep()
    assert room.asked == []

    entries.append(room.add(5))
    entries[0].keep(is_kept=True)
    await room.care.sweep()

    assert room.asked == [[entry.edition.edition_id for entry in entries[1:]]]
    room.care.note_holders(room.asked[0], [entries[2].edition.edition_id])
    assert [entry.is_elsewhere for entry in entries] == [False, False, True, False, False]


async def test_a_scrub_finds_wrong_blocks_and_gets_them_again(make_room: MakeRoom) -> None:
    room = make_room()
    right, wrong = room.add(1), room.add(2)
    spoil(wrong, 1)

    await room.care.scrub()

    assert room.repaired == [{1: a_block(CONTENT, 1).digest}]
    assert wrong.is_sealed
    assert wrong.is_block_right(1)
    assert right.is_sealed
    assert room.metrics.value("damselfly_scrubbed_bytes_total") == 2 * CONTENT_BYTES
    assert room.metrics.value("damselfly_damaged_blocks_total") == 1
    assert room.metrics.value("damselfly_repaired_blocks_total") == 1


async def test_a_wrong_block_that_nobody_has_is_missing_and_no_longer_wrong(
    make_room: MakeRoom,
) -> None:
    room = make_room()
    room.can_repair = False
    wrong = room.add(1)
    spoil(wrong, 1)

    await room.care.scrub()

    assert list(wrong.held) == [0, 2]
    assert not wrong.is_sealed
    assert room.metrics.value("damselfly_repaired_blocks_total") == 0


async def test_a_scrub_outlives_that_no_file_can_be_opened(tmp_path: Path) -> None:
    """The daemon ended with it."""
    metrics = Metrics()
    with a_disk_store(tmp_path) as store:
        care = Caretaker(
            store,
            CacheOptions(scrub_rate_bytes_per_s=1e9),
            repair=never_called,
            ask_holders=lambda _: None,
            metrics=metrics,
            now_wall_s=HandClock(),
        )
        entry = store.open(an_edition(1))
        seal(entry, CONTENT)
        entry.unpin()
        entry.close_files()
        await asyncio.to_thread(len, "")  # the pool of threads is there
        with no_more_files():
            await care.scrub()
        await care.scrub()
        with no_more_files():
            await care.mend(entry, [1])

    assert metrics.value("damselfly_scrubbed_bytes_total") == CONTENT_BYTES  # of the second scrub


async def test_what_is_in_use_is_left_alone(make_room: MakeRoom) -> None:
    room = make_room()
    used = room.add(1)
    spoil(used, 1)
    used.pin()

    await room.care.scrub()
    await room.care.mend(used, [1])

    assert room.repaired == []
    assert list(used.held) == [0, 1, 2]


async def test_a_task_with_a_secret_name_is_not_known_again() -> None:
    digest = Digest("sha256", "0" * 64)
    by_url = DownloadRequest(url="https://example.com/a").spec()
    by_digest = DownloadRequest(url="https://example.com/a", digest=str(digest)).spec()
    tagged = DownloadRequest(url="https://example.com/a", tag="1").spec()

    def again(task_id: TaskId, digest: Digest | None = None) -> TaskSpec | None:
        edition = replace(
            an_edition(), task_id=task_id, digest=digest, display_url="https://example.com/a"
        )
        store = MemoryStore(now_wall_s=HandClock())
        found = spec_again(store.open(edition))
        store.close()
        return found

    assert again(by_url.task_id) == by_url
    assert again(by_digest.task_id, digest) == by_digest
    assert again(by_url.task_id, digest) == by_url
    assert again(tagged.task_id) is None


# --- with a SuperNode and hosts


def spoil_file(folder: Path, at: int) -> None:
    """Turn a bit around on the disk, and set the time stamp back, as bit rot does."""
    (content,) = (folder / "editions").glob("*/*/*/content")
    times = content.stat()
    with content.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))
    os.utime(content, ns=(times.st_atime_ns, times.st_mtime_ns))


@pytest.mark.slow
async def test_a_host_repairs_its_copy_from_the_swarm_without_the_source(tmp_path: Path) -> None:
    content = a_content(3 << 20)
    async with FakeSource() as source, a_supernode(tmp_path) as supernode:
        source.add("/model.bin", content)
        url = source.url("/model.bin")
        async with a_host(tmp_path, "a", supernode) as host:
            finished = await host.downloads.get(DownloadRequest(url=url), lambda _: None)
            host.downloads.release(finished.download_id)
            spoil_file(tmp_path / "a", 1_500_000)
            (entry,) = host._store.entries()
            (bad,) = [index for index in entry.held if not entry.is_block_right(index)]
            read_before = len(source.requests)

            assert entry.forget_block(bad)
            await repair_by_download(host.downloads, entry)

            assert entry.is_sealed
            assert entry.is_block_right(bad)
            assert not [each for each in source.requests[read_before:] if each.method == "GET"]
