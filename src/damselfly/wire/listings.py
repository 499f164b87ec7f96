"""Listings as bytes: what a `list+…` address gives. See docs/protocols/listings.md."""

from collections.abc import Iterable

import msgspec

from damselfly.core.members import Member, is_safe_path
from damselfly.errors import RemoteProtocolError
from damselfly.wire.json_values import UNREADABLE

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[list[Member]] = msgspec.json.Decoder(list[Member])


def encode_listing(members: Iterable[Member]) -> bytes:
    """Return a listing: the same bytes for the same files, in whatever order they came."""
    return _encoder.encode(sorted(members, key=lambda member: member.path)) + b"\n"


def decode_listing(data: bytes) -> list[Member]:
    """Return the files of a listing.

    Raises:
        RemoteProtocolError: It is none, or holds a path that leads out of its folder.
    """
    try:
        members = _decoder.decode(data)
    except UNREADABLE as exc:
        raise RemoteProtocolError("a listing that is none") from exc
    paths = set()
    for member in members:
        if not is_safe_path(member.path) or member.path in paths:
            raise RemoteProtocolError(f"a listing with a path that cannot be: {member.path!r}")
        paths.add(member.path)
    return members
