"""What the mind of a download wants done."""

from dataclasses import dataclass
from enum import StrEnum

from damselfly.core.peer import HostId


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkParent:
    """Open a link with a peer that was offered."""

    host_id: HostId


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchBlock:
    """Ask a parent for a block."""

    block_index: int
    host_id: HostId


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelFetch:
    """Give a running fetch up; the block came from somebody else."""

    block_index: int
    host_id: HostId


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclineGrant:
    """Tell the SuperNode that a granted block is not needed."""

    block_index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnounceBlock:
    """Tell all links that a block is held."""

    block_index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimBlocks:
    """Tell the links inside our rack which blocks we are fetching from outside; all of them."""

    block_indices: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportProgress:
    """Tell the SuperNode how far we are."""

    held_count: int
    is_hungry: bool
    is_whole: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Complain:
    """Tell the SuperNode that a parent failed."""

    host_id: HostId
    block_index: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AskSource:
    """Ask the SuperNode whether we may go to the source ourselves."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchFromSource:
    """Read blocks from the source: `first_index <= i < stop_index`, None is to the end."""

    first_index: int
    stop_index: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StopSource:
    """Stop reading from the source: nobody who allows it waits any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """All blocks are held: check the whole, and hand it out."""


class GiveUp(StrEnum):
    """Why a download cannot go on."""

    SUPERNODE_LOST = "the SuperNode does not answer"
    NO_HOLDER = "no host that can be reached holds them"
    SOURCE_FAILED = "the source failed, too"
    SOURCE_FORBIDDEN = "the source may not be used (--no-source)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fail:
    """Give the download up."""

    reason: GiveUp
    missing_count: int


Instruction = (
    LinkParent
    | FetchBlock
    | CancelFetch
    | DeclineGrant
    | AnnounceBlock
    | ClaimBlocks
    | ReportProgress
    | Complain
    | AskSource
    | FetchFromSource
    | StopSource
    | Finish
    | Fail
)
