"""The SuperNode in the imagined world: a real `Scheduler` and a real `SeedPlan`.

What `supernode.py`, `seed_grants.py` and `block_feed.py` of `services/supernode` do around them is
done here in virtual time: the source is read block by block, the block list is told in batches,
grants that nobody uses are taken back.
"""

import random
from collections.abc import Callable, Iterable
from typing import Any

from damselfly.core.blocks import BlockSet
from damselfly.core.downloading import events as core
from damselfly.core.peer import SUPERNODE, HostId
from damselfly.core.scheduling import events as sn, instructions as todo
from damselfly.core.scheduling.scheduler import Scheduler
from damselfly.core.scheduling.seeding import Grant, SeedPlan
from damselfly.sim.giving import Transfer
from damselfly.sim.linking import LinkedMachine, SuperNodeSide
from damselfly.sim.source import Source
from damselfly.sim.surroundings import Surroundings

# As in services/supernode/block_feed.py, seed_grants.py and supernode.py.
FEED_BATCH_S = 0.02
REPEAT_BATCH_S = 0.02
UNUSED_S = 15.0
TICK_S = 1.0
LINKS_PER_CHILD = 4


class SuperNodeMachine(SuperNodeSide):
    """The SuperNode: schedules, reads the source, seeds.

    Attributes:
        scheduler: Decides who gets which parents.
        plan: Decides which child gets which seed block.
        cached: Blocks that it has on its disk; survives a restart.
    """

    def __init__(
        self,
        world: Surroundings,
        *,
        source: Source,
        uplink: tuple[int, ...],
        rng: random.Random,
    ) -> None:
        # Grants are counted by the plan, not by the queue.
        slots = 4 * world.scenario.seed_slots
        super().__init__(world, SUPERNODE, slots=slots, uplink=uplink, rack=None)
        self._rng, self._source = rng, source
        count = world.scenario.block_count
        self.cached = BlockSet.full(count) if world.scenario.supernode.is_warm else BlockSet()
        self._carry: dict[type, Callable[[Any], None]] = {
            todo.EnsureSeeded: self._ensure_seeded,
            todo.StopSeeding: self._stop_seeding,
            todo.TellEdition: self._tell_edition,
            todo.TellFailed: self._tell_failed,
            todo.OfferParents: self._offer,
            todo.AnswerSource: self._answer_source,
            todo.BanHost: self._ban,
        }
        self._begin()

    def _begin(self) -> None:
        options = self.world.scenario.supernode
        self.is_up = True
        self.scheduler = Scheduler(
            neighbours=options.neighbours,
            children_max=options.children_max,
            fallbacks_max=options.fallbacks_max,
            read_on_s=options.read_on_s,
            rng=self._rng,
        )
        self.plan = SeedPlan(slots=self.world.scenario.seed_slots, seeded=self.cached)
        self._sessions: dict[HostId, LinkedMachine] = {}
        self._links: dict[HostId, LinkedMachine] = {}
        self._since_s: dict[Grant, float] = {}
        self._subscribers: dict[HostId, LinkedMachine] = {}
        self._news = BlockSet()
        self._is_repeating = False
        self._is_reading = self._is_stopping = False
        self._life = object()  # what was planned in an earlier life does not happen
        self.world.timeline.after(TICK_S, self._tick, self._life)

    @property
    def is_whole(self) -> bool:
        """It has read all of the source."""
        return len(self.cached) == self.world.scenario.block_count

    def holds(self, block_index: int) -> bool:
        """Say whether it has a block."""
        return block_index in self.cached

    # --- life

    def crash(self) -> None:
        """It is gone: sessions, links and transfers end."""
        self.is_up = False
        self.stop_giving()
        latency_s = self.world.latency_s
        for host in self._sessions.values():
            self.world.timeline.after(latency_s, host.on_session_lost, host.session)
        for host in self._links.values():
            self.world.timeline.after(latency_s, host.on_seed_link_lost)
        self._sessions, self._links, self._subscribers = {}, {}, {}
        self._life = object()

    def come_back(self) -> None:
        """It runs again, with what is on its disk and nothing else."""
        self._begin()

    def _tick(self, life: object) -> None:
        if life is not self._life:
            return
        now_s = self.world.timeline.now_s
        limit_s = now_s - UNUSED_S
        for grant in [grant for grant, since in self._since_s.items() if since < limit_s]:
            del self._since_s[grant]
            self._give(self.plan.decline(grant.host_id, grant.block_index, now_s=now_s))
        self._handle(sn.Ticked())
        self.world.timeline.after(TICK_S, self._tick, life)

    # --- sessions

    def on_session(self, host: LinkedMachine) -> None:
        """A host has opened its session, and asks for the content unless it has it."""
        edition = self.world.edition
        self._sessions[host.host_id] = host
        is_whole = host.finished_s is not None
        holdings = (edition.edition_id,) if is_whole else ()
        self._handle(sn.HostConnected(host=host.host, holdings=holdings))
        if not is_whole and not host.failure:
            joined = sn.PeerJoined(
                host_id=host.host_id,
                task_id=edition.task_id,
                edition_id=edition.edition_id,
                held_count=len(host.mind.held),
            )
            self.world.timeline.after(
                self.world.latency_s, self.on_message, host, host.session, joined
            )

    def on_session_lost(self, host: LinkedMachine, session: int) -> None:
        """A host's session ended."""
        if self._sessions.get(host.host_id) is host and host.session == session:
            del self._sessions[host.host_id]
            self._subscribers.pop(host.host_id, None)
            self._handle(sn.HostLost(host_id=host.host_id))
            self.on_link_lost(host.host_id)

    def on_message(self, host: LinkedMachine, session: int, event: sn.Event) -> None:
        """A host told something."""
        if self._sessions.get(host.host_id) is not host or host.session != session:
            return
        self._handle(event)
        if isinstance(event, sn.PeerLeft):
            self._subscribers.pop(host.host_id, None)

    def _handle(self, event: sn.Event) -> None:
        if not self.is_up:
            return
        self.world.ledger.supernode_messages += not isinstance(event, sn.Ticked)
        for instruction in self.scheduler.handle(event, now_s=self.world.timeline.now_s):
            self._carry[type(instruction)](instruction)
        if self.world.is_checked:
            self.scheduler.check()

    def _send(self, host_id: HostId, what: str, *arguments: Any, **named: Any) -> None:  # noqa: ANN401
        host = self._sessions.get(host_id)
        if host is None:
            return
        self.world.ledger.supernode_messages += 1
        session = host.session

        def arrive() -> None:
            if host.has_session and host.session == session:
                getattr(host, what)(*arguments, **named)

        self.world.timeline.after(self.world.latency_s, arrive)

    def _tell_edition(self, told: todo.TellEdition) -> None:
        host = self._sessions.get(told.host_id)
        if host is None:
            return
        self._flush()
        self._subscribers[told.host_id] = host
        self._send(told.host_id, "on_edition", self.cached.copy(), is_sealed=self.is_whole)

    def _tell_failed(self, told: todo.TellFailed) -> None:
        self._subscribers.pop(told.host_id, None)
        self._send(told.host_id, "give_up", told.message)

    def _offer(self, offer: todo.OfferParents) -> None:
        self._send(offer.host_id, "on_offer", offer.parents, has_supernode=offer.has_supernode)

    def _answer_source(self, answer: todo.AnswerSource) -> None:
        event = core.SourceAnswered(
            is_granted=answer.is_granted, retry_after_s=answer.retry_after_s
        )
        self._send(answer.host_id, "on_event", event)

    def _ban(self, ban: todo.BanHost) -> None:
        self.world.ledger.banned.append(ban.host_id)
        for host_id in ban.told:
            self._send(host_id, "on_event", core.ParentBanned(host_id=ban.host_id))

    # --- the source, and the block list

    def _ensure_seeded(self, _: todo.EnsureSeeded) -> None:
        self._handle(sn.EditionOpened(edition=self.world.edition))
        if self.is_whole:
            self._handle(sn.SeedEnded(task_id=self.world.edition.task_id))
        elif not self._is_reading:
            self._is_reading = True
            self._read_next(self._life)

    def _stop_seeding(self, _: todo.StopSeeding) -> None:
        self._is_stopping = True  # with the block that is on its way

    def _read_next(self, life: object) -> None:
        if self._is_stopping:
            self._is_reading = self._is_stopping = False
            self._handle(sn.SeedStopped(task_id=self.world.edition.task_id))
            return
        missing = [i for i in range(self.world.scenario.block_count) if i not in self.cached]
        if missing:
            self._source.read(
                missing[0],
                (),
                then=lambda: self._on_read(missing[0], life),
                broke=lambda: self._on_broken(life),
            )
            return
        self._flush()
        for host in self._subscribers.values():
            self._send(host.host_id, "on_listed", BlockSet(), is_sealed=True)
        self._handle(sn.SeedEnded(task_id=self.world.edition.task_id))

    def _on_broken(self, life: object) -> None:
        """The source gives no answer, however often it was asked."""
        if life is not self._life:
            return
        self._is_reading = self._is_stopping = False
        failed = sn.SeedFailed(
            task_id=self.world.edition.task_id,
            error="SourceUnreachableError",
            message="the source gives no answer",
        )
        self._handle(failed)

    def _on_read(self, block_index: int, life: object) -> None:
        if life is not self._life:
            return
        self.world.ledger.seeded[block_index] += 1
        self.cached.add(block_index)
        if not self._news:
            self.world.timeline.after(FEED_BATCH_S, self._flush)
        self._news.add(block_index)
        self._give(self.plan.seed(block_index, now_s=self.world.timeline.now_s))
        self._read_next(life)

    def _flush(self) -> None:
        if self._news:
            news, self._news = self._news, BlockSet()
            for host_id in self._subscribers:
                self._send(host_id, "on_listed", news, is_sealed=False)

    # --- seed blocks

    def on_link(self, host: LinkedMachine) -> bool:
        """A child opens its link; False: it cannot."""
        links_max = LINKS_PER_CHILD * self.world.scenario.supernode.children_max
        if (
            not self.is_up
            or not self.world.can_reach(SUPERNODE, host.host_id)
            or len(self._links) >= links_max
        ):
            return False
        host.has_seed_link = True
        host.news.link(SUPERNODE, BlockSet())
        self._links[host.host_id] = host
        linked = core.ParentLinked(host_id=SUPERNODE, held=self.cached.copy())
        self.world.timeline.after(self.world.latency_s, host.on_event, linked)
        held = host.mind.held.copy()
        rack = str(host.host.location)
        now_s = self.world.timeline.now_s
        self._give(self.plan.link(host.host_id, held, rack=rack, now_s=now_s))
        return True

    def on_link_lost(self, host_id: HostId) -> None:
        """A child has closed its link, or is gone."""
        if self._links.pop(host_id, None) is not None:
            self._since_s = {g: at for g, at in self._since_s.items() if g.host_id != host_id}
            self._give(self.plan.unlink(host_id, now_s=self.world.timeline.now_s))

    def on_held(self, host: LinkedMachine, indices: Iterable[int]) -> None:
        """A child holds more."""
        if host.host_id in self._links:
            now_s = self.world.timeline.now_s
            self._give(self.plan.hold(host.host_id, indices, now_s=now_s))

    def on_declined(self, host: LinkedMachine, block_index: int) -> None:
        """A child does not want what it was given."""
        if host.host_id in self._links:
            self._since_s.pop(Grant(host.host_id, block_index), None)
            now_s = self.world.timeline.now_s
            self._give(self.plan.decline(host.host_id, block_index, now_s=now_s))

    def on_sent(self, transfer: Transfer) -> None:
        """A child has fetched a block, or gave it up: its slot is free."""
        host_id, index = transfer.taker.host_id, transfer.block_index
        if self._since_s.pop(Grant(host_id, index), None) is not None:
            self._give(self.plan.end(host_id, index, now_s=self.world.timeline.now_s))

    def _give(self, grants: list[Grant]) -> None:
        world = self.world
        now_s = world.timeline.now_s
        for grant in grants:
            self._since_s[grant] = now_s
            world.ledger.supernode_messages += 1
            event = core.BlockGranted(block_index=grant.block_index)
            host = self._links[grant.host_id]
            world.timeline.after(world.latency_s, self._deliver_grant, host, event)
        if world.is_checked:
            self.plan.check()
        due_s = self.plan.due_s()
        if due_s is not None and not self._is_repeating and self._links:
            self._is_repeating = True
            delay_s = max(due_s - now_s, REPEAT_BATCH_S)
            world.timeline.after(delay_s, self._repeat, self._life)

    def _deliver_grant(self, host: LinkedMachine, event: core.BlockGranted) -> None:
        if host.is_up and host.has_seed_link:
            host.handle(event)

    def _repeat(self, life: object) -> None:
        if life is self._life:
            self._is_repeating = False
            self._give(self.plan.next(now_s=self.world.timeline.now_s))
