"""Each kind of source, against a real server of its kind, keeps the contract of sources."""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from contract.source import FileContract, Shelf, SourceContract
from transport import shelves


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
