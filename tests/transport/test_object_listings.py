"""What lies below a prefix of a bucket, as a folder has it."""

import asyncio
from pathlib import Path

import pytest

from damselfly.core.task import TaskSpec
from damselfly.errors import SourceRefusedError, TaskSpecError
from engines.seaweed import ask_amazon
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


async def test_a_bucket_is_no_object(seaweed: str, tmp_path: Path) -> None:
    shelf = shelves.ObjectShelf(seaweed, tmp_path / "shelf")

    for url in ("s3://shelf", "s3://shelf/"):
        with pytest.raises(TaskSpecError, match="no object; --recursive"):
            await shelf.sources.read(TaskSpec(url=url))
        with pytest.raises(TaskSpecError, match="no object; --recursive"):
            await shelf.sources.authorise(TaskSpec(url=url))
    await shelf.sources.close()
