"""What happens to one download, as events of its mind."""

from dataclasses import dataclass, field
from enum import StrEnum

from damselfly.core.blocks import BlockSet
from damselfly.core.peer import HostId


class Failure(StrEnum):
    """Why a fetch failed; it decides what becomes of the parent."""

    BUSY = "busy"  # later again
    MISSING = "missing"  # it does not hold the block after all
    UNREACHABLE = "unreachable"
    STALLED = "stalled"
    CORRUPT = "corrupt"


class Loss(StrEnum):
    """How a link was lost."""

    ENDED = "ended"  # by the other side, which has its reasons
    UNREACHABLE = "unreachable"  # it could not be opened
    MISSING = "missing"  # the other side does not have the edition


@dataclass(frozen=True, slots=True, kw_only=True)
class EditionStarted:
    """The edition is known, and what is held of it already.

    Attributes:
        block_count: Number of blocks; None while the source has not told the length.
        held: Blocks that the store has.
        listed: Blocks whose digests are known.
    """

    block_count: int | None
    held: BlockSet
    listed: BlockSet


@dataclass(frozen=True, slots=True, kw_only=True)
class BlocksListed:
    """The SuperNode told the digests of more blocks."""

    blocks: BlockSet


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """The block list is complete; the number of blocks is known."""

    block_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ParentsOffered:
    """The SuperNode named parents."""

    host_ids: tuple[HostId, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ParentLinked:
    """A link with a peer is open.

    Attributes:
        can_give: Its address is known, so that blocks can be asked for.
        is_far: It is outside of our rack.
    """

    host_id: HostId
    held: BlockSet
    load: int = 0
    can_give: bool = True
    is_far: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ParentHeld:
    """A linked peer holds more blocks now.

    Attributes:
        blocks: These; perhaps none, when only its claims have changed.
        load: Uploads it has, running and waiting.
        claimed: All blocks that it is fetching from outside of its rack.
    """

    host_id: HostId
    blocks: BlockSet
    load: int = 0
    claimed: BlockSet = field(default_factory=BlockSet)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParentLost:
    """A link ended, or could not be opened."""

    host_id: HostId
    loss: Loss = Loss.ENDED


@dataclass(frozen=True, slots=True, kw_only=True)
class ParentBanned:
    """Nothing may be taken from a host any more."""

    host_id: HostId


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockGranted:
    """The SuperNode gives a seed block: it is to be fetched now."""

    block_index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockStored:
    """A block was verified and stored.

    Attributes:
        host_id: Who gave it; None: it came from the source or with a message.
    """

    block_index: int
    host_id: HostId | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchFailed:
    """A fetch ended without a block.

    Attributes:
        retry_after_s: When a busy parent may be asked again.
    """

    block_index: int
    host_id: HostId
    failure: Failure
    retry_after_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderMoved:
    """Somebody reads the content while it comes.

    Attributes:
        reader: Tells readers apart.
        block_index: What it waits for; None: it has gone.
    """

    reader: int
    block_index: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SuperNodeLost:
    """The session ended; it is being opened again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SuperNodeBack:
    """The session is open again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SuperNodeFailed:
    """The SuperNode gave the task up.

    Attributes:
        can_use_source: Going to the source makes sense, and is allowed by the SuperNode.
    """

    can_use_source: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcePermitted:
    """The users' permission to go to the source changed: one came, or the last one left.

    Attributes:
        is_permitted: Some user who waits for the download allows it.
    """

    is_permitted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceAnswered:
    """The SuperNode said whether we may go to the source."""

    is_granted: bool
    retry_after_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceEnded:
    """Reading blocks from the source ended, with or without all of them."""

    is_ok: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Outranked:
    """Other downloads of this host are more urgent, or no longer.

    Attributes:
        steps: By how much; 0: none is.
    """

    steps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticked:
    """Time passed."""


Event = (
    EditionStarted
    | BlocksListed
    | Sealed
    | ParentsOffered
    | ParentLinked
    | ParentHeld
    | ParentLost
    | ParentBanned
    | BlockGranted
    | BlockStored
    | FetchFailed
    | ReaderMoved
    | SuperNodeLost
    | SuperNodeBack
    | SuperNodeFailed
    | SourcePermitted
    | SourceAnswered
    | SourceEnded
    | Outranked
    | Ticked
)
