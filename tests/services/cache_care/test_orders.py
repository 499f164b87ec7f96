"""Which entries an operator means, where several are shown by one URL."""

import asyncio
import hashlib
import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from damselfly.core.blocks import Span
from damselfly.errors import NotCachedError
from damselfly.services.cache_care.importing import import_content
from damselfly.services.cache_care.orders import CacheOrders
from damselfly.services.options import CacheOptions
from damselfly.services.stores import open_store
from damselfly.storage.store import BlockStore
from damselfly.wire.cache_messages import CacheOrder, ImportOrder

URL = "http://models.invalid/f"
NAMES = (URL, f"{URL}?versionId=1", f"{URL}?versionId=2")  # each holds its own name
CACHE = CacheOptions(reserve_bytes=0)


@pytest.fixture
def orders(tmp_path: Path) -> Iterator[CacheOrders]:
    store = open_store(str(tmp_path), CACHE)
    try:
        for at_s, name in enumerate(NAMES):
            asyncio.run(put(store, name, float(at_s)))
        yield CacheOrders(store, CACHE, data=str(tmp_path))
    finally:
        store.close()


async def put(store: BlockStore, name: str, at_s: float) -> None:
    """Put a content in under its name as a URL; validated at a moment."""
    order = ImportOrder(digest=digest_of(name), size_bytes=len(name), url=name)
    file = io.BytesIO(name.encode())

    async def read(count: int) -> bytes:
        return file.read(count)

    await import_content(store, order, read, now_wall_s=at_s)


def digest_of(name: str) -> str:
    return f"sha256:{hashlib.sha256(name.encode()).hexdigest()}"


def content_of(orders: CacheOrders, name: str) -> str:
    entry = orders.find(name)
    return bytes(entry.read_span(Span(0, entry.edition.size_bytes or 0))).decode()


def test_a_url_is_found_as_its_own_content_whatever_was_validated_last(orders: CacheOrders) -> None:
    assert [content_of(orders, name) for name in NAMES] == list(NAMES)


def test_a_url_with_a_query_is_one_of_those_that_the_url_without_means(orders: CacheOrders) -> None:
    pinned = orders.carry_out(CacheOrder(action="pin", names=(NAMES[1],))).tasks
    removed = orders.carry_out(CacheOrder(action="rm", names=(URL,))).tasks

    assert [each.digest for each in pinned] == [digest_of(NAMES[1])]
    assert len(removed) == 3


def test_what_is_not_there_is_told_without_what_may_be_secret(orders: CacheOrders) -> None:
    with pytest.raises(NotCachedError) as caught:
        orders.find(f"{URL}?versionId=3&sig=hidden")

    assert "hidden" not in str(caught.value)
