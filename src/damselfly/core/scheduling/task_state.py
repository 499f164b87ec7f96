"""One task as the scheduler sees it: who wants it, and whether it is being seeded."""

from dataclasses import dataclass, field

from damselfly.core.access import Credential
from damselfly.core.peer import HostId
from damselfly.core.scheduling.admission import SourceBudget
from damselfly.core.scheduling.events import EditionOpened, PeerJoined
from damselfly.core.task import EditionId


@dataclass(slots=True)
class TaskState:
    """What the scheduler knows of a task.

    Attributes:
        waiting: {host: its join} of those that no edition was told yet.
        asking: {credential: {host: its join}} of those about whom the source is being asked.
        shown: {host: what it showed}, of all of these.
        refused: What the source refused since it last gave the whole.
        joined: Hosts in a swarm of this task, and the edition they were told.
        current: The edition that is being seeded; None when a join must ask the cache.
        is_asked: Seeding was asked for and has not answered yet, or was told to stop and has not.
        is_stopping: It is the latter; who joins meanwhile begins it anew.
        is_wished: The SuperNode itself wants it.
    """

    budget: SourceBudget
    waiting: dict[HostId, PeerJoined] = field(default_factory=dict)
    joined: dict[HostId, EditionId] = field(default_factory=dict)
    asking: dict[Credential, dict[HostId, PeerJoined]] = field(default_factory=dict)
    shown: dict[HostId, Credential] = field(default_factory=dict)
    refused: set[Credential] = field(default_factory=set)
    current: EditionOpened | None = None
    is_asked: bool = False
    is_stopping: bool = False
    is_wished: bool = False

    @property
    def _is_wanted(self) -> bool:
        return bool(self.waiting or self.joined or any(self.asking.values()) or self.is_wished)

    @property
    def is_over(self) -> bool:
        """Whether nobody wants it any more, and nothing goes on for it."""
        return not (self._is_wanted or self.is_asked or self.current or self.budget.granted)

    @property
    def is_read_in_vain(self) -> bool:
        """Whether it is being seeded, and nobody wants it any more."""
        is_read = (self.is_asked or self.current is not None) and not self.is_stopping
        return is_read and not self._is_wanted

    @property
    def can_be_resumed(self) -> bool:
        """Whether what has been read would still be of use; of what cannot, all is read."""
        return self.current is None or self.current.edition.can_be_resumed

    def stop_seeding(self) -> None:
        """It is told to stop; who joins meanwhile waits for that, and begins it anew."""
        self.current, self.is_asked, self.is_stopping = None, True, True

    def end_seeding(self) -> None:
        """It is not being seeded any more."""
        self.current, self.is_asked, self.is_stopping, self.is_wished = None, False, False, False

    def forget(self, host_id: HostId) -> None:
        """A host wants it no more."""
        self.waiting.pop(host_id, None)
        self.shown.pop(host_id, None)
        for joins in self.asking.values():
            joins.pop(host_id, None)
