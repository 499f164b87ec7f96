"""What operators and caches tell each other."""

import pytest

from damselfly.core.digest import Digest
from damselfly.core.task import TaskSpec
from damselfly.errors import RemoteProtocolError, TaskSpecError
from damselfly.wire.cache_messages import (
    CacheAnswer,
    CacheChanged,
    CacheOrder,
    ImportOrder,
    decode_json,
)

DIGEST = f"sha256:{'0' * 64}"


def test_an_import_is_named_by_its_url_and_tag_or_by_its_digest() -> None:
    by_url = ImportOrder(digest=DIGEST, size_bytes=1, url="https://example.com/a", tag="v1")
    by_digest = ImportOrder(digest=DIGEST, size_bytes=1, name="a b/ü.bin")

    assert by_url.spec().task_id == TaskSpec(url="https://example.com/a", tag="v1").task_id
    assert by_digest.spec().digest == Digest.parse(DIGEST)
    assert by_digest.spec().url == "http://imported.invalid/a_b__.bin"


@pytest.mark.parametrize(
    "order",
    [
        ImportOrder(digest="md5:1", size_bytes=1),
        ImportOrder(digest=DIGEST, size_bytes=1, url="nonsense"),
        ImportOrder(digest=DIGEST, size_bytes=1, url="https://example.com/", tag="\n"),
    ],
)
def test_an_import_that_cannot_be_named_is_refused(order: ImportOrder) -> None:
    with pytest.raises(TaskSpecError):
        order.spec()


def test_messages_are_read_or_refused() -> None:
    answer: object = decode_json(b'{"kind":"changed","told":true}', CacheAnswer)

    assert answer == CacheChanged(told=True)
    for data in (b"", b"{}", b'{"kind":"other"}', b"\xff"):
        with pytest.raises(RemoteProtocolError):
            decode_json(data, CacheAnswer)
        with pytest.raises(RemoteProtocolError):
            decode_json(data, CacheOrder)
