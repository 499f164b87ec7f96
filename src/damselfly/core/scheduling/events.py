"""What the SuperNode hears of, as events of its scheduler."""

from dataclasses import dataclass

from damselfly.core.access import ANYBODY, Credential
from damselfly.core.peer import Host, HostId
from damselfly.core.task import Edition, EditionId, TaskId


@dataclass(frozen=True, slots=True, kw_only=True)
class HostConnected:
    """A host opened its session.

    Attributes:
        host: The machine.
        holdings: Editions that it has whole.
    """

    host: Host
    holdings: tuple[EditionId, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HostLost:
    """A host's session ended."""

    host_id: HostId


@dataclass(frozen=True, slots=True, kw_only=True)
class HostHolds:
    """A host has an edition whole, without having joined its task: it was imported there."""

    host_id: HostId
    edition_id: EditionId


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerJoined:
    """A host wants a task.

    Attributes:
        edition_id: The edition of which it holds blocks already.
        held_count: How many.
        credential: What it shows the source.
    """

    host_id: HostId
    task_id: TaskId
    edition_id: EditionId | None = None
    held_count: int = 0
    credential: Credential = ANYBODY


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedWanted:
    """The SuperNode itself wants a task in its cache: it is preheated."""

    task_id: TaskId


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedUnwanted:
    """The SuperNode itself does not want a task any more: its preheats were cancelled."""

    task_id: TaskId


@dataclass(frozen=True, slots=True, kw_only=True)
class EditionOpened:
    """Seeding knows which edition the task has now.

    Attributes:
        edition: The edition.
        is_stale: The source could not be asked.
        accepted: What the source gave it for; None: it was not asked.
    """

    edition: Edition
    is_stale: bool = False
    accepted: Credential | None = ANYBODY


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedEnded:
    """Seeding has read all there is; from here on a join asks the cache again."""

    task_id: TaskId


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedStopped:
    """Seeding reads no further, as it was told; what was read is kept."""

    task_id: TaskId


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedFailed:
    """Seeding cannot go on.

    Attributes:
        error: Class name in `damselfly.errors`.
        message: What a user may read.
        status: What the source answered, or 0.
        http_headers: What goes with the status: a challenge, when to come again.
        can_use_source: The fault is the SuperNode's own.
        refused: What was shown to a source that refused it; None: it is not about that.
    """

    task_id: TaskId
    error: str
    message: str
    status: int = 0
    http_headers: tuple[tuple[str, str], ...] = ()
    can_use_source: bool = False
    refused: Credential | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessAnswered:
    """The source said whether it gives a task to those who show a credential.

    Attributes:
        failure: Why not; None: it does.
    """

    task_id: TaskId
    credential: Credential
    failure: SeedFailed | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerProgressed:
    """A host said how far it is."""

    host_id: HostId
    edition_id: EditionId
    held_count: int
    is_hungry: bool = False
    is_idle: bool = False
    is_whole: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerComplained:
    """A host had trouble with a parent.

    Attributes:
        accused: The parent.
        reason: `corrupt`, `stalled`, `unreachable` or `missing`.
    """

    host_id: HostId
    edition_id: EditionId
    accused: HostId
    block_index: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerLeft:
    """A host no longer takes part in a task."""

    host_id: HostId
    task_id: TaskId


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceAsked:
    """A host asks whether it may go to the source itself."""

    host_id: HostId
    task_id: TaskId


@dataclass(frozen=True, slots=True)
class Ticked:
    """A second has passed, more or less."""


Event = (
    HostConnected
    | HostLost
    | HostHolds
    | PeerJoined
    | SeedWanted
    | SeedUnwanted
    | EditionOpened
    | SeedEnded
    | SeedStopped
    | SeedFailed
    | AccessAnswered
    | PeerProgressed
    | PeerComplained
    | PeerLeft
    | SourceAsked
    | Ticked
)
