"""A fake source, readers of it, one patient, one that waits a third of a second; a real bucket."""

from collections.abc import AsyncIterator, Iterator

import pytest

from damselfly.transport.sources.http import HttpSource
from engines.seaweed import a_seaweed
from fakes.source import FakeSource


@pytest.fixture
async def fake() -> AsyncIterator[FakeSource]:
    async with FakeSource() as source:
        yield source


@pytest.fixture
async def http() -> AsyncIterator[HttpSource]:
    source = HttpSource(connect_timeout_s=5, stall_timeout_s=5)
    yield source
    await source.close()


@pytest.fixture
async def impatient() -> AsyncIterator[HttpSource]:
    source = HttpSource(connect_timeout_s=0.5, stall_timeout_s=0.3)
    yield source
    await source.close()


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with a_seaweed(tmp_path_factory.mktemp("seaweed")) as endpoint:
        yield endpoint
