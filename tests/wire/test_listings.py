"""Listings as bytes: one form for one list, and no path that leads out of its folder."""

import msgspec
import pytest

from damselfly.core.members import Member
from damselfly.errors import RemoteProtocolError
from damselfly.wire.listings import decode_listing, encode_listing

A = Member(path="a", url="s3://b/a", size_bytes=5, version='"x"')
B = Member(path="d/b", url="s3://b/d/b", digest="sha256:" + "0" * 64)


def test_a_listing_is_the_same_in_whatever_order_it_came() -> None:
    assert encode_listing([B, A]) == encode_listing([A, B])
    assert decode_listing(encode_listing([B, A])) == [A, B]


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b"\xff", b'[{"path":"a"}]', b"[" * 10_000])
def test_what_is_no_listing_is_refused(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="none"):
        decode_listing(data)


@pytest.mark.parametrize("paths", [["../a"], ["/etc/passwd"], ["a", "a"], [""]])
def test_a_listing_with_paths_that_cannot_be_is_refused(paths: list[str]) -> None:
    data = msgspec.json.encode([{"path": path, "url": "http://h/"} for path in paths])

    with pytest.raises(RemoteProtocolError, match="path that cannot be"):
        decode_listing(data)
