"""The bytes of a bundle: a list of its files, then the files. See docs/protocols/listings.md."""

from collections.abc import Sequence
from typing import Final

from damselfly.core.members import Member
from damselfly.errors import RemoteProtocolError
from damselfly.wire.listings import decode_listing, encode_listing

LENGTH_BYTES: Final = 8
HEAD_BYTES_MAX: Final = 256 << 20  # far above what 50,000 files with long names take


def encode_head(members: Sequence[Member]) -> bytes:
    """Return what a bundle begins with."""
    listing = encode_listing(members)
    return len(listing).to_bytes(LENGTH_BYTES, "big") + listing


def listing_bytes_told(start: bytes) -> int:
    """Return the length of the list that follows the first `LENGTH_BYTES` of a bundle.

    Raises:
        RemoteProtocolError: No bundle begins so.
    """
    count = int.from_bytes(start, "big")
    if len(start) != LENGTH_BYTES or count > HEAD_BYTES_MAX:
        raise RemoteProtocolError("a bundle that is none")
    return count


def members_told(listing: bytes) -> list[Member]:
    """Return the files of a bundle, in the order in which they follow.

    Raises:
        RemoteProtocolError: It is no list of files with lengths.
    """
    members = decode_listing(listing)
    if any(member.size_bytes is None or member.size_bytes < 0 for member in members):
        raise RemoteProtocolError("a bundle with a file of no length")
    return members
