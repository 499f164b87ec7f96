"""A host whose cache is filling learns what others hold, too; imports reach the SuperNode once."""

import asyncio
import hashlib
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from damselfly.errors import RemoteProtocolError
from damselfly.services.cache_care.importing import import_content, imported_edition
from damselfly.services.hosting.host_cache import caring, import_told
from damselfly.services.hosting.peer_host import PeerHost
from damselfly.services.options import CacheOptions, DaemonOptions
from damselfly.services.seeding.storing import store_block
from damselfly.services.supernode.host_imports import edition_of
from damselfly.wire import session_messages as wire
from damselfly.wire.cache_messages import ImportOrder
from damselfly.wire.local_messages import DownloadRequest
from fakes.source import FakeSource
from services.hosts import a_host, a_supernode
from storage.builders import a_content

pytestmark = pytest.mark.slow

DATA = a_content(700_000)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.02)


async def get(host: PeerHost, url: str) -> str:
    finished = await host.downloads.get(DownloadRequest(url=url), lambda _: None)
    host.downloads.release(finished.download_id)
    return finished.edition_id


async def test_a_full_host_learns_what_others_hold_too(tmp_path: Path) -> None:
    async with (
        FakeSource() as source,
        a_supernode(tmp_path) as supernode,
        a_host(tmp_path, "a", supernode) as full,
        a_host(tmp_path, "b", supernode) as other,
    ):
        source.add("/shared", DATA)
        source.add("/own", a_content(700_000, seed=1))
        shared = await get(full, source.url("/shared"))
        own = await get(full, source.url("/own"))
        await get(other, source.url("/shared"))
        cache = CacheOptions(quota_bytes=1_500_000, reserve_bytes=0)
        options = DaemonOptions(data=str(tmp_path / "a"), cache=cache)
        async with caring(options, full, full._store):
            answers: list[wire.HoldersTold] = []
            note = full.hooks.on_holders

            def on_holders(told: wire.HoldersTold) -> None:
                note(told)
                answers.append(told)

            full.hooks.on_holders = on_holders
            # As the sweep asks; the SuperNode may not have heard yet that the other has it.
            while not answers or not answers[-1].held:
                full.tell(wire.HoldersAsked(edition_ids=(shared, own)))
                count = len(answers)
                await until(lambda count=count: len(answers) > count)  # type: ignore[misc]

        held = {entry.edition.edition_id: entry.is_elsewhere for entry in full._store.entries()}
        assert held == {shared: True, own: False}


def test_an_import_has_the_name_that_its_digest_gives() -> None:
    order = ImportOrder(digest=f"sha256:{'0' * 64}", size_bytes=1, name="f")
    edition = imported_edition(order)
    told = wire.Imported(
        task_id=edition.task_id,
        edition_id=edition.edition_id,
        url=edition.display_url,
        digest=order.digest,
        block_bytes=edition.block_bytes,
        size_bytes=1,
    )

    assert edition_of(told) == edition
    for wrong in ({"edition_id": "a" * 32}, {"task_id": "a" * 64}, {"block_bytes": 1 << 20}):
        with pytest.raises(RemoteProtocolError, match="cannot be"):
            edition_of(msgspec.structs.replace(told, **wrong))


async def test_an_import_that_lies_is_not_taken_over(tmp_path: Path) -> None:
    """A host tells a digest that its bytes do not have."""
    order = ImportOrder(
        digest=f"sha256:{hashlib.sha256(DATA).hexdigest()}", size_bytes=len(DATA), name="f"
    )
    position = 0

    async def read(count: int) -> bytes:
        nonlocal position
        position += count
        return DATA[position - count : position]

    async with a_supernode(tmp_path) as supernode, a_host(tmp_path, "a", supernode) as host:
        await until(lambda: host.is_connected)
        entry = await import_content(host._store, order, read, now_wall_s=0.0)
        told = import_told(entry, url="", tag="")
        order = ImportOrder(digest=f"sha256:{'0' * 64}", size_bytes=len(DATA), name="f")
        false = host._store.open(imported_edition(order))
        for index in range(false.edition.layout.block_count):
            span = false.edition.layout.span(index)
            store_block(false, index, DATA[span.start_byte : span.stop_byte], None)
        lie = import_told(false, url="", tag="")

        host.tell(lie)
        await asyncio.sleep(0.5)
        kept = list((tmp_path / "supernode" / "editions").glob("*/*/*/content"))
        assert kept == []

        host.tell(told)
        await until(lambda: bool(list((tmp_path / "supernode" / "editions").glob("*/*/*/content"))))


async def test_what_a_host_gave_of_an_import_is_no_part_of_a_download(tmp_path: Path) -> None:
    """A host tells a digest that its bytes do not have, and stops giving them midway."""
    digest = f"sha256:{hashlib.sha256(DATA).hexdigest()}"
    edition = imported_edition(ImportOrder(digest=digest, size_bytes=len(DATA), name="f"))
    async with (
        FakeSource() as source,
        a_supernode(tmp_path) as supernode,
        a_host(tmp_path, "a", supernode) as liar,
        a_host(tmp_path, "b", supernode) as other,
    ):
        source.add("/f", DATA)
        await until(lambda: liar.is_connected)
        entry = liar._store.open(edition)
        store_block(entry, 0, bytes(edition.block_bytes), None)
        liar.tell(import_told(entry, url="", tag=""))
        taken = (tmp_path / "supernode" / "editions").glob
        await until(lambda: any(each.stat().st_size for each in taken("*/*/*/journal")))

        request = DownloadRequest(url=source.url("/f"), digest=digest)
        finished = await other.downloads.get(request, lambda _: None)

        assert Path(finished.content_path).read_bytes() == DATA
        other.downloads.release(finished.download_id)
        entry.unpin()
