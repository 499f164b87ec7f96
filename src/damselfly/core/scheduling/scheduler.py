"""The scheduler: one event in, the instructions it causes out.

The scheduler decides three things, and no more: which edition a host gets (once per task,
however many ask), which parents it is told of, and whether it may go to the source itself.
Which block comes from whom is for the peers; which child gets which seed block is
`seeding.py`. It reads no clock and throws no dice of its own.
"""

import random
from collections.abc import Iterable
from typing import assert_never

from damselfly.core.access import WINDOW_S, Access
from damselfly.core.peer import SUPERNODE, Host, HostId
from damselfly.core.scheduling.admission import RETRY_AFTER_S, Blame, SourceBudget
from damselfly.core.scheduling.events import (
    AccessAnswered,
    EditionOpened,
    Event,
    HostConnected,
    HostHolds,
    HostLost,
    PeerComplained,
    PeerJoined,
    PeerLeft,
    PeerProgressed,
    SeedEnded,
    SeedFailed,
    SeedStopped,
    SeedUnwanted,
    SeedWanted,
    SourceAsked,
    Ticked,
)
from damselfly.core.scheduling.holdings import Holdings
from damselfly.core.scheduling.instructions import (
    AnswerSource,
    AskAccess,
    BanHost,
    EnsureSeeded,
    Instruction,
    StopSeeding,
    TellEdition,
    TellFailed,
)
from damselfly.core.scheduling.lingering import READ_ON_S, Lingering
from damselfly.core.scheduling.offering import Offering
from damselfly.core.scheduling.task_state import TaskState
from damselfly.core.swarm import FAR_LINKS_MAX, IMPORTERS, Peer, Swarm
from damselfly.core.task import EditionId, TaskId
from damselfly.core.topology import Location  # noqa: TC001  # as its neighbours

# So many credentials may be refused before all who wait are told so: each costs a request,
# and a content that is not there is refused to all.
REFUSALS_MAX = 16


class Scheduler:
    """The SuperNode's mind.

    Attributes:
        hosts: {host id: host} of all hosts with a session.
        swarms: {edition id: swarm}; one in which nobody misses anything is forgotten.
        holdings: Which hosts have which editions whole: from their hello, and since.
    """

    def __init__(
        self,
        *,
        neighbours: int = 8,
        children_max: int = 64,
        fallbacks_max: int = 2,
        access_window_s: float = WINDOW_S,
        read_on_s: float = READ_ON_S,
        rng: random.Random,
    ) -> None:
        self._access = Access(window_s=access_window_s)
        self._fallbacks_max = fallbacks_max
        self._lingering = Lingering(read_on_s=read_on_s)
        self._blame = Blame()
        self._offering = Offering(
            neighbours=neighbours, children_max=children_max, blame=self._blame, rng=rng
        )
        # Swarms and locations that have lost an importer by the present event.
        self._vacant: list[tuple[Swarm, Location]] = []
        self.hosts: dict[HostId, Host] = {}
        self.swarms: dict[EditionId, Swarm] = {}
        self._tasks: dict[TaskId, TaskState] = {}
        self.holdings = Holdings()

    def handle(self, event: Event, *, now_s: float) -> list[Instruction]:
        """Take in one event and return what must be done because of it."""
        instructions = self._take_in(event, now_s)
        vacant, self._vacant = self._vacant, []
        for swarm, location in vacant:
            instructions += self._offering.successor(swarm, location, now_s=now_s)
        return instructions

    def _take_in(self, event: Event, now_s: float) -> list[Instruction]:  # noqa: C901, PLR0911, PLR0912  # a dispatch
        match event:
            case HostConnected():
                return self._on_host_connected(event)
            case HostLost():
                return self._on_host_lost(event)
            case HostHolds():
                return self._on_host_holds(event)
            case PeerJoined():
                return self._on_peer_joined(event, now_s)
            case SeedWanted():
                return self._on_seed_wanted(event)
            case SeedUnwanted():
                return self._on_seed_unwanted(event)
            case EditionOpened():
                return self._on_edition_opened(event, now_s)
            case SeedEnded() | SeedStopped():
                return self._on_seed_ended(event)
            case SeedFailed():
                return self._on_seed_failed(event)
            case AccessAnswered():
                return self._on_access_answered(event, now_s)
            case PeerProgressed():
                return self._on_peer_progressed(event, now_s)
            case PeerComplained():
                return self._on_peer_complained(event, now_s)
            case PeerLeft():
                return self._on_peer_left(event)
            case SourceAsked():
                return self._on_source_asked(event, now_s)
            case Ticked():
                return self._on_ticked(now_s)
            case _:
                assert_never(event)

    def check(self) -> None:
        """Assert the invariants."""
        self.holdings.check()
        for edition_id, swarm in self.swarms.items():
            swarm.check()
            assert not all(peer.is_whole for peer in swarm.peers.values())
            assert swarm.edition.edition_id == edition_id
            joined = self._tasks[swarm.edition.task_id].joined
            missing = [host_id for host_id, peer in swarm.peers.items() if not peer.is_whole]
            assert all(joined.get(host_id) == edition_id for host_id in missing)
            assert swarm.peers.keys() <= self.hosts.keys()
            links_max = self._offering.links_max + IMPORTERS + FAR_LINKS_MAX
            assert all(len(peer.neighbours) <= links_max for peer in swarm.peers.values())
        for task in self._tasks.values():
            assert not task.waiting or task.is_asked
            assert not task.is_stopping or (task.is_asked and task.current is None)

    # --- hosts

    def _on_host_connected(self, event: HostConnected) -> list[Instruction]:
        host_id = event.host.host_id
        if host_id in self.hosts:  # it came back before its old session was known to be dead
            self._on_host_lost(HostLost(host_id=host_id))
        self.hosts[host_id] = event.host
        self.holdings.begin(host_id, event.holdings)
        for edition_id in event.holdings:
            if (swarm := self.swarms.get(edition_id)) is not None:
                self._add_holder(swarm, event.host)
        return []

    def _on_host_holds(self, event: HostHolds) -> list[Instruction]:
        host = self.hosts.get(event.host_id)
        if host is not None:
            self.holdings.add(event.host_id, event.edition_id)
            swarm = self.swarms.get(event.edition_id)
            if swarm is not None and event.host_id not in swarm.peers:
                self._add_holder(swarm, host)
        return []

    def _add_holder(self, swarm: Swarm, host: Host) -> None:
        count = swarm.edition.layout.block_count
        swarm.add(Peer(host=host, held_count=count, is_whole=True))

    def _on_host_lost(self, event: HostLost) -> list[Instruction]:
        self.hosts.pop(event.host_id, None)
        self.holdings.end(event.host_id)
        for task_id, task in list(self._tasks.items()):
            task.forget(event.host_id)
            task.joined.pop(event.host_id, None)
            task.budget.give_back(event.host_id)
            self._forget_if_empty(task_id)
        for swarm in list(self.swarms.values()):
            self._remove_peer(swarm, event.host_id)
        return []

    # --- tasks

    def _task(self, task_id: TaskId) -> TaskState:
        if task_id not in self._tasks:
            self._tasks[task_id] = TaskState(SourceBudget(self._fallbacks_max))
        return self._tasks[task_id]

    def _forget_if_empty(self, task_id: TaskId) -> None:
        task = self._tasks.get(task_id)
        if task is not None and task.is_over:
            del self._tasks[task_id]

    def _on_peer_joined(self, event: PeerJoined, now_s: float) -> list[Instruction]:
        if event.host_id not in self.hosts:
            return []  # its session ended while the message was on the way
        task = self._task(event.task_id)
        task.forget(event.host_id)  # what it asked for before, perhaps with something else
        task.shown[event.host_id] = event.credential
        if task.current is not None:
            return self._let_in(task, event, now_s)
        task.waiting[event.host_id] = event
        if task.is_asked:
            return []
        task.is_asked = True
        return [EnsureSeeded(task_id=event.task_id, host_id=event.host_id)]

    def _on_seed_wanted(self, event: SeedWanted) -> list[Instruction]:
        """Seed a task that nobody waits for; who joins meanwhile takes part in it."""
        task = self._task(event.task_id)
        task.is_wished = not task.is_stopping
        if task.current is not None or task.is_asked:
            return []  # it is being seeded already, or about to stop, and must be wanted anew
        task.is_asked = True
        return [EnsureSeeded(task_id=event.task_id, host_id=SUPERNODE)]

    def _on_seed_unwanted(self, event: SeedUnwanted) -> list[Instruction]:
        """Whoever cancels a preheat does not try again: it stops at once, if no host wants it."""
        task = self._tasks.get(event.task_id)
        if task is not None:
            task.is_wished = False
            if task.is_read_in_vain:
                return self._stop(event.task_id, task)
            self._forget_if_empty(event.task_id)
        return []

    def _on_ticked(self, now_s: float) -> list[Instruction]:
        unwanted = [
            task_id
            for task_id, task in self._tasks.items()
            if task.is_read_in_vain and task.can_be_resumed
        ]
        instructions: list[Instruction] = []
        for task_id in self._lingering.due(unwanted, now_s=now_s):
            instructions += self._stop(task_id, self._tasks[task_id])
        return instructions

    @staticmethod
    def _stop(task_id: TaskId, task: TaskState) -> list[Instruction]:
        task.stop_seeding()
        return [StopSeeding(task_id=task_id)]

    def _on_edition_opened(self, event: EditionOpened, now_s: float) -> list[Instruction]:
        task = self._task(event.edition.task_id)
        if task.is_stopping:
            return []
        task.is_asked, task.current = False, event
        if event.accepted is not None:
            self._access.accept(event.edition.task_id, event.accepted, now_s=now_s)
        swarm = self.swarms.get(event.edition.edition_id)
        if swarm is not None:
            swarm.edition = event.edition
        waiting, task.waiting = task.waiting, {}
        instructions: list[Instruction] = []
        for joined in waiting.values():
            instructions += self._let_in(task, joined, now_s)
        return instructions

    def _let_in(self, task: TaskState, joined: PeerJoined, now_s: float) -> list[Instruction]:
        """Admit a host that may have the task; of another one the source is asked."""
        if self._access.may_have(joined.task_id, joined.credential, now_s=now_s):
            return self._admit(task, joined, now_s)
        asking = task.asking.setdefault(joined.credential, {})
        is_first = not asking
        asking[joined.host_id] = joined
        if not is_first:
            return []
        return [
            AskAccess(task_id=joined.task_id, host_id=joined.host_id, credential=joined.credential)
        ]

    def _on_access_answered(self, event: AccessAnswered, now_s: float) -> list[Instruction]:
        task = self._task(event.task_id)
        joins = task.asking.pop(event.credential, {})
        if event.failure is not None:
            return self._fail(task, event.failure, joins)
        self._access.accept(event.task_id, event.credential, now_s=now_s)
        instructions: list[Instruction] = []
        for joined in joins.values():
            instructions += self._on_peer_joined(joined, now_s)
        self._forget_if_empty(event.task_id)
        return instructions

    def _on_seed_ended(self, event: SeedEnded | SeedStopped) -> list[Instruction]:
        task = self._task(event.task_id)
        task.end_seeding()
        if isinstance(event, SeedEnded):
            task.refused.clear()
        if task.waiting:  # they came when it was told to stop
            task.is_asked = True
            return [EnsureSeeded(task_id=event.task_id, host_id=next(iter(task.waiting)))]
        self._forget_if_empty(event.task_id)
        return []

    def _on_seed_failed(self, event: SeedFailed) -> list[Instruction]:
        task = self._task(event.task_id)
        # Whoever downloads an edition that was sealed before goes on with it.
        broken = task.current.edition.edition_id if task.current else None
        of_broken = [host_id for host_id, joined in task.joined.items() if joined == broken]
        if (another := self._another(task, event, of_broken)) is not None:
            refused = [host for host in task.waiting if task.shown.get(host) == event.refused]
            task.is_asked, task.is_stopping, task.is_wished = True, False, False
            seeded = EnsureSeeded(task_id=event.task_id, host_id=another)
            return [*self._fail(task, event, refused), seeded]
        task.end_seeding()
        told = [*task.waiting, *of_broken]
        for host_id in of_broken:
            self._leave_swarm(task, host_id)
        return self._fail(task, event, told)

    def _another(self, task: TaskState, event: SeedFailed, joined: list[HostId]) -> HostId | None:
        """Return a host that shows something else than what the source refused."""
        if event.refused is None:
            return None
        task.refused.add(event.refused)
        if len(task.refused) > REFUSALS_MAX:
            return None
        hosts = (*task.waiting, *joined)
        return next((host for host in hosts if task.shown.get(host) not in task.refused), None)

    def _fail(
        self, task: TaskState, event: SeedFailed, hosts: Iterable[HostId]
    ) -> list[Instruction]:
        """Tell hosts that they do not get the task, and forget that they want it."""
        told = list(hosts)
        for host_id in told:
            task.forget(host_id)
        self._forget_if_empty(event.task_id)
        return [
            TellFailed(
                host_id=host_id,
                task_id=event.task_id,
                error=event.error,
                message=event.message,
                status=event.status,
                http_headers=event.http_headers,
                can_use_source=event.can_use_source,
            )
            for host_id in told
        ]

    def _on_peer_left(self, event: PeerLeft) -> list[Instruction]:
        task = self._tasks.get(event.task_id)
        if task is not None:
            task.forget(event.host_id)
            task.budget.give_back(event.host_id)
            self._leave_swarm(task, event.host_id)
            self._forget_if_empty(event.task_id)
        return []

    def _on_source_asked(self, event: SourceAsked, now_s: float) -> list[Instruction]:
        is_granted = self._task(event.task_id).budget.ask(event.host_id, now_s=now_s)
        return [
            AnswerSource(
                host_id=event.host_id,
                task_id=event.task_id,
                is_granted=is_granted,
                retry_after_s=0.0 if is_granted else RETRY_AFTER_S,
            )
        ]

    # --- swarms

    def _admit(self, task: TaskState, joined: PeerJoined, now_s: float) -> list[Instruction]:
        assert task.current is not None
        host_id, edition = joined.host_id, task.current.edition
        held_count = joined.held_count if joined.edition_id == edition.edition_id else 0
        if task.joined.get(host_id) != edition.edition_id:
            self._leave_swarm(task, host_id)  # what it had is another edition
        swarm = self.swarms.get(edition.edition_id)
        if swarm is None:
            swarm = self.swarms[edition.edition_id] = Swarm(
                edition, links_max=self._offering.links_max
            )
            for holder in self.holdings.hosts_with(edition.edition_id):
                self._add_holder(swarm, self.hosts[holder])
        peer = swarm.add(Peer(host=self.hosts[host_id], held_count=held_count))
        task.joined[host_id] = edition.edition_id
        told = TellEdition(host_id=host_id, edition=edition, is_stale=task.current.is_stale)
        if edition.size_bytes is not None and held_count == edition.layout.block_count:
            self._on_whole(swarm, peer)
            return [told]
        self.holdings.remove(host_id, edition.edition_id)
        return [told, *self._offering.first(swarm, peer, now_s=now_s)]

    def _on_whole(self, swarm: Swarm, peer: Peer) -> None:
        """A peer misses nothing any more: it wants nothing, and goes on giving."""
        host_id, edition = peer.host.host_id, swarm.edition
        swarm.finish(peer)
        self.holdings.add(host_id, edition.edition_id)
        task = self._tasks[edition.task_id]  # somebody who is not whole has joined it
        task.budget.give_back(host_id)
        task.joined.pop(host_id, None)
        task.forget(host_id)
        self._forget_if_empty(edition.task_id)
        self._forget_if_whole(swarm)

    def _on_peer_progressed(self, event: PeerProgressed, now_s: float) -> list[Instruction]:
        swarm = self.swarms.get(event.edition_id)
        if swarm is None or event.host_id not in swarm.peers:
            return []
        peer = swarm.peers[event.host_id]
        peer.held_count, peer.is_idle = event.held_count, event.is_idle
        peer.is_hungry = event.is_hungry and not event.is_whole
        if event.is_whole:
            self._on_whole(swarm, peer)
        if not peer.is_hungry:
            return []
        return self._offering.hungry(swarm, peer, now_s=now_s)

    def _on_peer_complained(self, event: PeerComplained, now_s: float) -> list[Instruction]:
        swarm = self.swarms.get(event.edition_id)
        if swarm is None or event.host_id not in swarm.peers:
            return []
        peer = swarm.peers[event.host_id]
        instructions: list[Instruction] = []
        if event.accused == SUPERNODE:
            swarm.adopt(peer, is_child=False)  # offered again when it is hungry
            return instructions
        swarm.unlink(event.host_id, event.accused)
        if event.reason == "missing":
            self._forget_holding(swarm, event.accused)
            return self._offering.first(swarm, peer, now_s=now_s)
        peer.avoided.add(event.accused)
        if event.reason == "corrupt" and self._blame.accuse(
            event.accused, accuser=event.host_id, block_index=event.block_index, now_s=now_s
        ):
            instructions.append(BanHost(host_id=event.accused, told=tuple(self.hosts)))
            for each in self.swarms.values():
                each.isolate(event.accused)
        return instructions + self._offering.first(swarm, peer, now_s=now_s)

    def _forget_holding(self, swarm: Swarm, host_id: HostId) -> None:
        """A host no longer has what it had whole: its cache made room."""
        holder = swarm.peers.get(host_id)
        if holder is not None and holder.is_whole:
            self.holdings.remove(host_id, swarm.edition.edition_id)
            self._remove_peer(swarm, host_id)

    def _leave_swarm(self, task: TaskState, host_id: HostId) -> None:
        edition_id = task.joined.pop(host_id, None)
        swarm = self.swarms.get(edition_id) if edition_id else None
        if swarm is not None:
            self._remove_peer(swarm, host_id)

    def _remove_peer(self, swarm: Swarm, host_id: HostId) -> None:
        peer = swarm.peers.get(host_id)
        if peer is not None and peer.is_importer:
            self._vacant.append((swarm, peer.host.location))
        swarm.remove(host_id)
        self._forget_if_whole(swarm)

    def _forget_if_whole(self, swarm: Swarm) -> None:
        if not swarm.missing_count:
            self.swarms.pop(swarm.edition.edition_id, None)
