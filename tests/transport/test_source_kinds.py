"""Each kind of source, against a real server of its kind, keeps the contract of sources."""

import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from contract.source import FileContract, Shelf, SourceContract
from damselfly.core.task import TaskSpec
from transport import shelves

PATHS = (*("/",) * 6, "/nothing/f")  # more than make a source ill


class TestFolders(FileContract):
    @pytest.fixture
    async def shelf(self, tmp_path: Path) -> AsyncIterator[Shelf]:
        async with shelves.folder_shelf(tmp_path) as shelf:
            yield shelf


@pytest.mark.slow
class TestNginx(SourceContract):
    @pytest.fixture
    async def shelf(self, tmp_path: Path) -> AsyncIterator[Shelf]:
        async with shelves.nginx_shelf(tmp_path) as shelf:
            yield shelf


class TestHub(SourceContract):
    @pytest.fixture
    async def shelf(self, tmp_path: Path) -> AsyncIterator[Shelf]:
        async with shelves.hub_shelf(tmp_path) as shelf:
            yield shelf


class TestHadoop(FileContract):
    @pytest.fixture
    async def shelf(self) -> AsyncIterator[Shelf]:
        async with shelves.hadoop_shelf() as shelf:
            yield shelf


@pytest.mark.slow
class TestFtp(FileContract):
    @pytest.fixture
    async def shelf(self, tmp_path: Path) -> AsyncIterator[Shelf]:
        async with shelves.served_shelf("ftp", tmp_path) as shelf:
            yield shelf


@pytest.mark.slow
class TestSftp(FileContract):
    @pytest.fixture
    async def shelf(self, tmp_path: Path) -> AsyncIterator[Shelf]:
        async with shelves.served_shelf("sftp", tmp_path) as shelf:
            yield shelf


@pytest.mark.slow
class TestSamba(FileContract):
    @pytest.fixture
    async def shelf(self, tmp_path: Path) -> AsyncIterator[Shelf]:
        async with shelves.samba_shelf(tmp_path) as shelf:
            yield shelf

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
    @pytest.fixture
    async def shelf(self, tmp_path: Path) -> AsyncIterator[Shelf]:
        async with shelves.gcs_shelf(tmp_path) as shelf:
            yield shelf


if shutil.which("azurite-blob"):  # of npm, 190 MB: see CONTRIBUTING.md

    @pytest.mark.slow
    class TestAzure(SourceContract):
        @pytest.fixture
        async def shelf(self, tmp_path: Path) -> AsyncIterator[Shelf]:
            async with shelves.azure_shelf(tmp_path) as shelf:
                yield shelf


@pytest.mark.slow
class TestObjects(SourceContract):
    @pytest.fixture
    async def shelf(self, seaweed: str, tmp_path: Path) -> AsyncIterator[Shelf]:
        shelf = shelves.ObjectShelf(seaweed, tmp_path)
        yield shelf
        await shelf.sources.close()
