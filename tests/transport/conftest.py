"""A fake source, and readers of it: one patient, one that waits a tenth of a second."""

from collections.abc import AsyncIterator

import pytest

from damselfly.transport.sources.http import HttpSource
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
    source = HttpSource(connect_timeout_s=0.2, stall_timeout_s=0.1)
    yield source
    await source.close()
