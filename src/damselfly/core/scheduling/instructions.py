"""What the scheduler wants done."""

from dataclasses import dataclass

from damselfly.core.access import Credential
from damselfly.core.peer import Host, HostId
from damselfly.core.task import Edition, EditionId, TaskId


@dataclass(frozen=True, slots=True, kw_only=True)
class EnsureSeeded:
    """Ask the cache, then the source, for the task, on behalf of a host; once per task.

    The host may be the SuperNode itself, which preheats.
    """

    task_id: TaskId
    host_id: HostId


@dataclass(frozen=True, slots=True, kw_only=True)
class StopSeeding:
    """Read no further what nobody wants, and say when that has stopped; what was read stays."""

    task_id: TaskId


@dataclass(frozen=True, slots=True, kw_only=True)
class AskAccess:
    """Ask the source whether it gives a task to what a host shows; once for each credential."""

    task_id: TaskId
    host_id: HostId
    credential: Credential


@dataclass(frozen=True, slots=True, kw_only=True)
class TellEdition:
    """Tell a host which edition it gets, its block list, and its growth from now on."""

    host_id: HostId
    edition: Edition
    is_stale: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferParents:
    """Name parents to a host, the best first.

    Attributes:
        parents: Other hosts.
        has_supernode: The SuperNode offers itself, too: the host becomes its child.
    """

    host_id: HostId
    edition_id: EditionId
    parents: tuple[Host, ...]
    has_supernode: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TellFailed:
    """Tell a host that its task cannot be had."""

    host_id: HostId
    task_id: TaskId
    error: str
    message: str
    status: int = 0
    http_headers: tuple[tuple[str, str], ...] = ()
    can_use_source: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerSource:
    """Tell a host whether it may go to the source itself."""

    host_id: HostId
    task_id: TaskId
    is_granted: bool
    retry_after_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BanHost:
    """Tell hosts to take nothing from a host any more."""

    host_id: HostId
    told: tuple[HostId, ...]


Instruction = (
    EnsureSeeded
    | StopSeeding
    | AskAccess
    | TellEdition
    | OfferParents
    | TellFailed
    | AnswerSource
    | BanHost
)
