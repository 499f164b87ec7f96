"""Each kind of source, against a real server of its kind, keeps the contract of sources."""

import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from contract.source import FileContract, Shelf, SourceContract
from damselfly.core.task import TaskSpec
from transport import shelves

PATHS = (*("/",) * 6, "/nothing/f")  # more than make a source ill


def shelf_of(opened: Callable[[Path], AbstractAsyncContextManager[Shelf]]) -> Any:  # noqa: ANN401
    """Return the fixture of a kind: what it is opened with, in a folder of its own."""

    @pytest.fixture
    async def shelf(_: SourceContract, tmp_path: Path) -> AsyncIterator[Shelf]:
        async with opened(tmp_path) as shelf:
            yield shelf

    return shelf


class TestFolders(FileContract):
    shelf = shelf_of(shelves.folder_shelf)


@pytest.mark.slow
class TestNginx(SourceContract):
    shelf = shelf_of(shelves.nginx_shelf)


class TestHub(SourceContract):
    shelf = shelf_of(shelves.hub_shelf)


class TestHadoop(FileContract):
    @pytest.fixture
    async def shelf(self) -> AsyncIterator[Shelf]:
        async with shelves.hadoop_shelf() as shelf:
            yield shelf


@pytest.mark.slow
class TestFtp(FileContract):
    shelf = shelf_of(partial(shelves.served_shelf, "ftp"))


@pytest.mark.slow
class TestSftp(FileContract):
    shelf = shelf_of(partial(shelves.served_shelf, "sftp"))


@pytest.mark.slow
class TestSamba(FileContract):
    shelf = shelf_of(shelves.samba_shelf)

    async def test_a_server_without_a_share_is_refused_and_not_taken_for_ill(
        self, shelf: shelves.FolderShelf
    ) -> None:
        top = shelf.base.removesuffix("/shelf")
        sources = shelves.sources_with(replace(shelf.account, match=top))

        found = [(await sources.authorise(TaskSpec(url=f"{top}{path}"))).status for path in PATHS]

        assert found == [400] * 6 + [404]
        await sources.close()


@pytest.mark.slow
class TestGoogle(SourceContract):
    shelf = shelf_of(shelves.gcs_shelf)


if shutil.which("azurite-blob"):  # of npm, 190 MB: see CONTRIBUTING.md

    @pytest.mark.slow
    class TestAzure(SourceContract):
        shelf = shelf_of(shelves.azure_shelf)


@pytest.mark.slow
class TestObjects(SourceContract):
    @pytest.fixture
    async def shelf(self, seaweed: str, tmp_path: Path) -> AsyncIterator[Shelf]:
        shelf = shelves.ObjectShelf(seaweed, tmp_path)
        yield shelf
        await shelf.sources.close()
