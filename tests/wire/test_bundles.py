"""Bundles as bytes."""

import pytest

from damselfly.core.members import Member
from damselfly.errors import RemoteProtocolError
from damselfly.wire.bundles import encode_head, listing_bytes_told, members_told

MEMBERS = [Member(path="a", url="s3://b/a", size_bytes=3)]


def test_a_head_tells_its_members() -> None:
    head = encode_head(MEMBERS)

    assert listing_bytes_told(head[:8]) == len(head) - 8
    assert members_told(head[8:]) == MEMBERS


@pytest.mark.parametrize("start", [b"", b"1234567", b"\xff" * 8])
def test_what_is_no_bundle_is_refused(start: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="none"):
        listing_bytes_told(start)


@pytest.mark.parametrize("size", [None, -1])
def test_a_file_without_length_is_refused(size: int | None) -> None:
    head = encode_head([Member(path="a", url="", size_bytes=size)])

    with pytest.raises(RemoteProtocolError, match="no length"):
        members_told(head[8:])
