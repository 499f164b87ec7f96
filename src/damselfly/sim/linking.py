"""Links between hosts, and the news on them: who opens one when, and what breaks it.

As `services/peering/links.py` has it, but for the bytes.
"""

from collections.abc import Iterable

from damselfly.core.blocks import BlockSet
from damselfly.core.downloading import events as core, instructions as todo
from damselfly.core.downloading.announcing import News
from damselfly.core.downloading.download import Download
from damselfly.core.peer import SUPERNODE, Host, HostId
from damselfly.core.scheduling import events as sn
from damselfly.core.uploading import Asked, step_of, uploads_max
from damselfly.sim.giving import Giver, Transfer
from damselfly.sim.surroundings import Surroundings

# As in services/peering/links.py.
RETRY_PAUSES_S = (0.1, 0.3, 1.0)
HELLO_TIMEOUT_S = 5.0
LINKS_MAX = 64
HANDSHAKE = 4  # latencies until a WebSocket is open: TCP, then the upgrade


class LinkedMachine(Giver):
    """A host, as far as other machines know it.

    Attributes:
        host: What the SuperNode knows of it.
        mind: Decides.
        news: What linked machines were told.
        is_started: It knows the edition, so that links about it can be opened.
        links: {host id: linked host}, open links.
        has_seed_link: It is linked with the SuperNode.
        has_session: Its session is open.
        session: How many sessions it has had.
        sent_count: Messages that it has sent.
        finished_s: When it had everything; None: not yet.
        failure: Why it gave up; empty: it did not.
    """

    __slots__ = (
        "_claimed",
        "_opening",
        "_others",
        "failure",
        "finished_s",
        "has_seed_link",
        "has_session",
        "host",
        "is_started",
        "links",
        "mind",
        "news",
        "sent_count",
        "session",
    )

    def __init__(
        self,
        world: Surroundings,
        host: Host,
        mind: Download,
        *,
        others: "dict[HostId, LinkedMachine]",
        uplink: tuple[int, ...],
        rack: int | None,
    ) -> None:
        super().__init__(world, host.host_id, slots=host.upload_slots, uplink=uplink, rack=rack)
        self.host, self.mind = host, mind
        self._others = others
        self.is_started = False
        self.links: dict[HostId, LinkedMachine] = {}
        self.has_seed_link = False
        self._opening: set[HostId] = set()
        self.news = News()
        self._claimed = BlockSet()
        self.has_session, self.session = False, 0
        self.sent_count = 0
        self.finished_s: float | None = None
        self.failure = ""

    @property
    def is_done(self) -> bool:
        """Nothing more is expected of it."""
        return self.finished_s is not None or bool(self.failure)

    def holds(self, block_index: int) -> bool:
        """Say whether it has a block."""
        return block_index in self.mind.held

    def asked(self, transfer: Transfer) -> Asked:
        """Return what a request says, beside what is held here."""
        own_count, block_count = len(self.mind.held), self.world.block_count
        return Asked(
            transfer.taker.host_id,
            running_count=transfer.running_count,
            step=step_of(transfer.held_count, own_count=own_count, block_count=block_count),
            uploads_max=uploads_max(own_count),
        )

    def handle(self, event: core.Event) -> None:
        """Let the mind take an event in, and carry out what it wants."""
        raise NotImplementedError

    def on_session_lost(self, session: int) -> None:
        """The session ended, at the other side or on the way."""
        raise NotImplementedError

    def on_seed_link_lost(self) -> None:
        """The link with the SuperNode ended."""
        raise NotImplementedError

    def give_up(self, why: str) -> None:
        """It cannot go on, and says why."""
        raise NotImplementedError

    def on_event(self, event: core.Event) -> None:
        """Something was told."""
        if self.is_up:
            self.handle(event)

    # --- links

    def open_link(self, host_id: HostId) -> None:
        """Open a link with a host, unless there is one."""
        if host_id in self._opening or host_id in self.links:
            return
        self._opening.add(host_id)
        wait_s = HANDSHAKE * self.world.latency_s
        self.world.timeline.after(wait_s, self._on_link_answer, host_id, 0)

    def _on_link_answer(self, host_id: HostId, attempt: int) -> None:
        world = self.world
        if not self.is_up or self.failure:
            return
        other = self._others[host_id]
        if not world.can_reach(self.host_id, host_id) or not other.is_up:
            is_told = not other.is_up and not other.is_silent
            delay_s = 0.0 if is_told else HELLO_TIMEOUT_S
            world.timeline.after(delay_s, self._on_link_failed, host_id, core.Loss.UNREACHABLE)
        elif not other.is_started or other.failure:
            if attempt < len(RETRY_PAUSES_S):
                pause_s = RETRY_PAUSES_S[attempt] + HANDSHAKE * world.latency_s
                world.timeline.after(pause_s, self._on_link_answer, host_id, attempt + 1)
            else:
                self._on_link_failed(host_id, core.Loss.MISSING)
        elif len(other.links) >= LINKS_MAX:
            self._on_link_failed(host_id, core.Loss.UNREACHABLE)
        else:
            self._opening.discard(host_id)
            if host_id not in self.links:
                self.links[host_id] = other
                other.links[self.host_id] = self
                self.news.link(host_id, BlockSet())
                other.news.link(self.host_id, BlockSet())
                self._say_hello(other)
                other._say_hello(self)  # noqa: SLF001  # a machine of the same kind

    def _say_hello(self, other: "LinkedMachine") -> None:
        self.sent_count += 1
        event = core.ParentLinked(
            host_id=self.host_id,
            held=self.mind.held.copy(),
            load=self.queue.load,
            can_give=bool(self.host.address),
            is_far=self.rack != other.rack,
        )
        self.world.timeline.after(self.world.latency_s, other._on_hello, event)  # noqa: SLF001

    def _on_hello(self, event: core.ParentLinked) -> None:
        if self.is_up and event.host_id in self.links:
            self.news.hold(event.host_id, event.held)
            self.handle(event)

    def _on_link_failed(self, host_id: HostId, loss: core.Loss) -> None:
        self._opening.discard(host_id)
        if self.is_up:
            self.handle(core.ParentLost(host_id=host_id, loss=loss))

    def on_link_lost(self, host_id: HostId, loss: core.Loss) -> None:
        """The other side has closed a link, or is gone."""
        self.news.unlink(host_id)
        if self.links.pop(host_id, None) is not None and self.is_up:
            self.handle(core.ParentLost(host_id=host_id, loss=loss))

    def close_link(self, host_id: HostId) -> None:
        """Close a link."""
        other = self.links.pop(host_id)
        self.news.unlink(host_id)
        latency_s = self.world.latency_s
        self.world.timeline.after(latency_s, other.on_link_lost, self.host_id, core.Loss.ENDED)

    def cut(self, host_id: HostId) -> None:
        """A link breaks on the way."""
        self.on_link_lost(host_id, core.Loss.ENDED)

    # --- news

    def announce(self, instruction: todo.AnnounceBlock) -> None:
        """Tell the linked hosts that a block is held, each with others of the moment."""
        timeline = self.world.timeline
        has_timer = self.news.due_s is not None
        self._tell_news(self.news.add(instruction.block_index, now_s=timeline.now_s))
        if self.news.due_s is not None and not has_timer:
            timeline.at(self.news.due_s, self._tell_due)

    def tell_rest(self) -> None:
        """Tell the linked hosts what they were not told: we hold everything."""
        self._tell_news(self.news.behind())

    def _tell_due(self) -> None:
        if self.is_up:
            self._tell_news(self.news.due())

    def _tell_news(self, host_ids: Iterable[HostId]) -> None:
        world = self.world
        for host_id in host_ids:
            indices = self.news.take(host_id, now_s=world.timeline.now_s)
            if host_id == SUPERNODE:
                self.tell_supernode(indices)
                continue
            event = core.ParentHeld(
                host_id=self.host_id,
                blocks=BlockSet.of(indices),
                load=self.queue.load,
                claimed=self._claimed,
            )
            self.sent_count += 1
            world.timeline.after(world.latency_s, self.links[host_id].on_held, event)

    def claim(self, instruction: todo.ClaimBlocks) -> None:
        """Tell the linked hosts of the same rack what comes from outside of it."""
        self._claimed = BlockSet.of(instruction.block_indices)
        event = core.ParentHeld(
            host_id=self.host_id, blocks=BlockSet(), load=self.queue.load, claimed=self._claimed
        )
        listeners = tuple(other for other in self.links.values() if other.rack == self.rack)
        self.sent_count += len(listeners)
        self.world.timeline.after(self.world.latency_s, self._deliver_claims, event, listeners)

    def tell_supernode(self, indices: tuple[int, ...]) -> None:
        """Tell the SuperNode the news, too, if there is a link with it."""
        raise NotImplementedError

    def on_held(self, event: core.ParentHeld) -> None:
        """A linked host told news; the mind ignores those that it is not linked with any more."""
        self.news.hold(event.host_id, event.blocks)
        self.handle(event)

    def _deliver_claims(
        self, event: core.ParentHeld, listeners: tuple["LinkedMachine", ...]
    ) -> None:
        for other in listeners:
            other.handle(event)


class SuperNodeSide(Giver):
    """What hosts know of the SuperNode; `sim/supernode.py` is it."""

    def on_session(self, host: LinkedMachine) -> None:
        """A host has opened its session."""
        raise NotImplementedError

    def on_session_lost(self, host: LinkedMachine, session: int) -> None:
        """A host's session ended."""
        raise NotImplementedError

    def on_message(self, host: LinkedMachine, session: int, event: sn.Event) -> None:
        """A host told something."""
        raise NotImplementedError

    def on_link(self, host: LinkedMachine) -> bool:
        """A child opens its link; False: it cannot."""
        raise NotImplementedError

    def on_link_lost(self, host_id: HostId) -> None:
        """A child has closed its link, or is gone."""
        raise NotImplementedError

    def on_held(self, host: LinkedMachine, indices: Iterable[int]) -> None:
        """A child holds more."""
        raise NotImplementedError

    def on_declined(self, host: LinkedMachine, block_index: int) -> None:
        """A child does not want what it was given."""
        raise NotImplementedError
