"""What lies below a prefix of a bucket, as a folder has it."""

import asyncio
from pathlib import Path

import pytest

from damselfly.core.task import TaskSpec
from damselfly.errors import SourceRefusedError, SourceUnreachableError, TaskSpecError
from damselfly.transport.sources.accounts import AccountOptions
from engines.seaweed import ask_amazon
from fakes.source import FakeSource
from transport import shelves

pytestmark = pytest.mark.slow


async def test_what_marks_a_folder_is_no_file(seaweed: str, tmp_path: Path) -> None:
    shelf = shelves.ObjectShelf(seaweed, tmp_path / "marks")
    await shelf.put("a/x", b"x")
    await shelf.put("a/empty", b"")
    for mark in ("a/", "b/"):  # as consoles of S3 make folders
        await asyncio.to_thread(ask_amazon, seaweed, "PUT", f"/shelf/{shelf.prefix}/{mark}")

    members = await shelf.sources.list_below(shelf.spec(""))

    assert {each.path: each.size_bytes for each in members} == {"a/x": 1, "a/empty": 0}
    await shelf.sources.close()


async def test_a_prefix_that_nothing_has_is_refused(seaweed: str, tmp_path: Path) -> None:
    shelf = shelves.ObjectShelf(seaweed, tmp_path / "shelf")

    with pytest.raises(SourceRefusedError, match="404"):
        await shelf.sources.list_below(shelf.spec("nothing/"))
    await shelf.sources.close()


async def test_a_store_that_falls_silent_after_its_listing_is_unreachable() -> None:
    listing = b"""<ListBucketResult><Contents><Key>a/empty</Key><Size>0</Size><ETag>"1"</ETag>
        <LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents></ListBucketResult>"""
    async with FakeSource() as source:
        source.add("/silent", listing)
        source.add("/silent/a/empty", b"", is_head_stalled=True)
        account = AccountOptions(match="s3://silent/", endpoint=source.url(""))
        sources = shelves.sources_with(account, stall_timeout_s=1.0)

        with pytest.raises(SourceUnreachableError, match="no answer in time"):
            await sources.list_below(TaskSpec(url="s3://silent/a/"))
        await sources.close()


async def test_a_bucket_is_no_object(seaweed: str, tmp_path: Path) -> None:
    shelf = shelves.ObjectShelf(seaweed, tmp_path / "shelf")

    for url in ("s3://shelf", "s3://shelf/"):
        with pytest.raises(TaskSpecError, match="no object; --recursive"):
            await shelf.sources.read(TaskSpec(url=url))
        with pytest.raises(TaskSpecError, match="no object; --recursive"):
            await shelf.sources.authorise(TaskSpec(url=url))
    await shelf.sources.close()
