"""Peer to peer: the link. See docs/protocols/link.md.

A WebSocket per pair of hosts and edition at `/v1/editions/{edition_id}/link`. Each side
opens with `LinkHello`, then tells what it holds as it changes. The SuperNode is a peer that
also grants seed blocks. Bytes travel by `GET /v1/editions/{edition_id}/blocks/{index}`.
"""

from typing import Annotated

import msgspec

from damselfly.core.blocks import BLOCKS_MAX
from damselfly.wire.tagged import Codec, Message

PROTOCOL = 1
PREHEAT_HEADER = "Damselfly-Preheat"  # of a GET of a block that nobody waits for

BlockIndex = Annotated[int, msgspec.Meta(ge=0, lt=BLOCKS_MAX)]


class LinkHello(Message, frozen=True, tag="link_hello"):
    """Who is here, and what it holds; the first message of each side.

    Attributes:
        host_id: Id of the sender.
        address: `host:port` under which its blocks can be asked for; empty: nowhere.
        held: Bit i of byte i // 8 (lowest bit first) says that block i is held.
        load: Uploads running and waiting.
        location: `region/zone/rack` of the sender; empty is unknown.
    """

    protocol: int
    host_id: str
    held: bytes
    address: str = ""
    load: int = 0
    location: str = ""


class Held(Message, frozen=True, tag="held"):
    """Blocks that are held now and were not before.

    Attributes:
        indices: The blocks; perhaps none, when only `claimed` has changed.
        load: Uploads running and waiting.
        claimed: All blocks that the sender is fetching from outside of its location.
    """

    indices: tuple[BlockIndex, ...]
    load: int = 0
    claimed: tuple[BlockIndex, ...] = ()


class Granted(Message, frozen=True, tag="granted"):
    """The SuperNode gives one seed block to this child: fetch it now.

    Attributes:
        block_index: The block.
        digest: Its BLAKE3 digest, so that the child need not wait for the block list.
    """

    block_index: BlockIndex
    digest: bytes


class Declined(Message, frozen=True, tag="declined"):
    """The child does not need, or cannot take, a block it was granted."""

    block_index: BlockIndex


LinkMessage = LinkHello | Held | Granted | Declined

link_codec: Codec[LinkMessage] = Codec(LinkMessage)
