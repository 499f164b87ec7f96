"""What most tests with real processes begin with: a place for them, and a source that lies."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from e2e.processes import Site, a_site
from fakes.source import FakeSource


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with a_site(tmp_path) as site:
        yield site


@pytest.fixture
async def source() -> AsyncIterator[FakeSource]:
    async with FakeSource() as source:
        yield source
