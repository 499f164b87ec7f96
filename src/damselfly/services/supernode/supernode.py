"""The SuperNode: messages of hosts in, the scheduler's instructions out."""

import asyncio
import random
from collections.abc import Callable
from typing import Final, assert_never

import aiohttp

from damselfly.clock import now_s
from damselfly.core.peer import SUPERNODE, Host, HostId
from damselfly.core.scheduling.events import (
    Event,
    HostConnected,
    HostHolds,
    HostLost,
    PeerComplained,
    PeerJoined,
    PeerLeft,
    PeerProgressed,
    SeedUnwanted,
    SeedWanted,
    SourceAsked,
    Ticked,
)
from damselfly.core.scheduling.instructions import (
    AnswerSource,
    AskAccess,
    BanHost,
    EnsureSeeded,
    Instruction,
    OfferParents,
    StopSeeding,
    TellEdition,
    TellFailed,
)
from damselfly.core.scheduling.scheduler import Scheduler
from damselfly.core.scheduling.shedding import Shedding
from damselfly.core.task import EditionId, TaskId, TaskSpec
from damselfly.errors import RemoteProtocolError, UsageError
from damselfly.services.options import SuperNodeOptions
from damselfly.services.seeding.authorising import Authorising
from damselfly.services.seeding.pacing import TRICKLE_SHARE, Pacing
from damselfly.services.seeding.seeding import Seeding
from damselfly.services.supernode.edition_telling import edition_told
from damselfly.services.supernode.feeds import Feeds
from damselfly.services.supernode.host_copies import HostCopies
from damselfly.services.supernode.host_imports import HostImports
from damselfly.services.supernode.host_sessions import Session
from damselfly.services.supernode.host_warming import HostWarming
from damselfly.services.supernode.key_telling import KeyTelling
from damselfly.services.supernode.seeder import Seeder
from damselfly.services.supernode.supernode_views import Views
from damselfly.services.supernode.warming import Warming
from damselfly.storage.store import BlockStore
from damselfly.telemetry.log import get_log
from damselfly.telemetry.metrics import Metrics
from damselfly.wire import session_messages as wire

TICK_S: Final = 1.0
HOLDERS_ASKED_MAX: Final = 1000

log = get_log()


class SuperNode:
    """Everything a SuperNode does.

    Attributes:
        feeds: What hosts are fed with.
        pacing: Of what no host waits for.
        warming: What it wants in its cache itself.
        host_warming: What it told hosts to have in theirs.
        loop_delay_s: Returns how late the event loop is.
        on_pushed: Hears of what was pushed through a host's mirror.
    """

    def __init__(
        self,
        options: SuperNodeOptions,
        *,
        store: BlockStore,
        seeding: Seeding,
        imports: HostImports,
        client: aiohttp.ClientSession,
        metrics: Metrics,
        tasks: asyncio.TaskGroup,
        rng: random.Random,
        loop_delay_s: Callable[[], float],
    ) -> None:
        self._store = store
        self._imports = imports
        self._authorising = Authorising(seeding, store, window_s=options.source.access_window_s)
        self._metrics = metrics
        self._scheduler = _scheduler(options, rng)
        self._shedding = Shedding()
        self.loop_delay_s = loop_delay_s
        self._sessions: dict[HostId, Session] = {}
        # {host: {task: what it asked for}}, while it is wanted; holds its headers, with which
        # the source is asked.
        self._specs: dict[HostId, dict[TaskId, TaskSpec]] = {}
        self.pacing = Pacing(
            rate_bytes_per_s=options.preheat.rate_bytes_per_s,
            trickle_bytes_per_s=TRICKLE_SHARE * options.assumed_link_rate_bytes_per_s,
        )
        self.warming = Warming(
            store, seeding, begin=self._begin_seeding, give_up=self._give_up_seeding
        )
        self.host_warming = HostWarming(
            hosts=lambda: list(self._scheduler.hosts.values()), post=self._post
        )
        self.on_pushed: Callable[[wire.Pushed], None] = lambda _: None
        self.feeds = Feeds(
            options,
            store=store,
            client=client,
            metrics=metrics,
            tasks=tasks,
            post=self._post_encoded,
        )
        self._seeder = Seeder(
            seeding=seeding,
            authorising=self._authorising,
            copies=HostCopies(options, store, seeding, imports, holders_of=self.holders_of),
            feeds=self.feeds,
            pacing=self.pacing,
            warming=self.warming,
            host_warming=self.host_warming,
            scheduler=self._scheduler,
            metrics=metrics,
            tasks=tasks,
            handle=self._handle,
        )
        # Of the store: to who lacks an edition's key alone it is not fed any more.
        self._key_telling = KeyTelling(entry_of=store.find, post=self._post)

    # --- sessions

    def on_host(self, host: Host, hello: wire.Hello, session: Session) -> None:
        """A host opened its session; an older one of the same host ends."""
        if (old := self._sessions.get(host.host_id)) is not None:
            old.close()
        self._sessions[host.host_id] = session
        self._key_telling.on_host(host.host_id, hello.ciphers)
        holdings = tuple(EditionId(holding.edition_id) for holding in hello.holdings)
        self._metrics.sessions.set(len(self._sessions))
        self._handle(HostConnected(host=host, holdings=holdings))
        self.host_warming.on_host(host.host_id)
        log.info("host_connected", host=host.host_id, address=host.address)

    def session_pause_s(self, *, awaited: int) -> int:
        """Return 0 if a host may open a session, else after how many seconds it may."""
        pause_s = self._shedding.session_pause_s(
            sessions=len(self._sessions),
            awaited=awaited,
            delay_s=self.loop_delay_s(),
            now_s=now_s(),
        )
        if pause_s:
            self._metrics.put_off.labels("session").inc()
        return pause_s

    def on_session_end(self, host_id: HostId, session: Session) -> None:
        """A session ended."""
        if self._sessions.get(host_id) is not session:
            return  # the host has opened another one meanwhile
        del self._sessions[host_id]
        self._metrics.sessions.set(len(self._sessions))
        self._specs.pop(host_id, None)
        self._key_telling.forget(host_id)
        self.feeds.unsubscribe(host_id)
        self._handle(HostLost(host_id=host_id))
        self.host_warming.on_host_lost(host_id)
        log.info("host_lost", host=host_id)

    def on_message(self, host_id: HostId, message: wire.HostMessage) -> None:  # noqa: C901, PLR0912  # a dispatch
        """A host told or asked something.

        Raises:
            RemoteProtocolError: It should not have.
        """
        match message:
            case wire.Join():
                self._on_join(host_id, message)
            case wire.Progress():
                if message.is_whole:
                    self._forget_spec(host_id, TaskId(message.task_id))
                self._handle(
                    PeerProgressed(
                        host_id=host_id,
                        edition_id=EditionId(message.edition_id),
                        held_count=message.held_count,
                        is_hungry=message.is_hungry,
                        is_idle=message.is_idle,
                        is_whole=message.is_whole,
                    )
                )
            case wire.Complaint():
                log.warning("complaint", host=host_id, accused=message.host_id, why=message.reason)
                self._handle(
                    PeerComplained(
                        host_id=host_id,
                        edition_id=EditionId(message.edition_id),
                        accused=HostId(message.host_id),
                        block_index=message.block_index,
                        reason=message.reason,
                    )
                )
            case wire.SourceAsked():
                self._handle(SourceAsked(host_id=host_id, task_id=TaskId(message.task_id)))
            case wire.KeyAsked():
                self._key_telling.answer(host_id, message)
            case wire.Imported():
                self._on_imported(host_id, message)
            case wire.HoldersAsked():
                self._tell_holders(host_id, message)
            case wire.Leave():
                self._forget_spec(host_id, TaskId(message.task_id))
                self._handle(PeerLeft(host_id=host_id, task_id=TaskId(message.task_id)))
                self.feeds.unsubscribe(host_id, TaskId(message.task_id))
            case wire.Warmed():
                self.host_warming.on_warmed(host_id, message)
            case wire.Pushed():
                self.on_pushed(message)
            case wire.Hello():
                raise RemoteProtocolError("a second hello")
            case _:
                assert_never(message)

    def _on_imported(self, host_id: HostId, message: wire.Imported) -> None:
        def on_held(edition_id: EditionId) -> None:
            self._handle(HostHolds(host_id=host_id, edition_id=edition_id))

        self._imports.take(self._scheduler.hosts[host_id], message, on_held=on_held)

    def _tell_holders(self, host_id: HostId, message: wire.HoldersAsked) -> None:
        if len(message.edition_ids) > HOLDERS_ASKED_MAX:
            raise RemoteProtocolError(f"{len(message.edition_ids)} editions asked about at once")
        is_held = self._scheduler.holdings.is_held
        held = tuple(
            each for each in message.edition_ids if is_held(EditionId(each), but_by=host_id)
        )
        self._post(host_id, wire.HoldersTold(asked=message.edition_ids, held=held))

    def is_held(self, edition_id: EditionId) -> bool:
        """Say whether a host has an edition whole."""
        return self._scheduler.holdings.is_held(edition_id)

    def holders_of(self, edition_id: EditionId) -> list[Host]:
        """Return the hosts that have an edition whole and can be reached."""
        found = (
            self._scheduler.hosts[each] for each in self._scheduler.holdings.hosts_with(edition_id)
        )
        return [host for host in found if host.address]

    def _on_join(self, host_id: HostId, message: wire.Join) -> None:
        task_id = TaskId(message.task_id)
        try:
            spec = message.spec()
        except UsageError as exc:
            failed = wire.Failed(task_id=task_id, error=type(exc).__name__, message=str(exc))
            self._post(host_id, failed)
            return
        if pause_s := self._shedding.join_pause_s(delay_s=self.loop_delay_s(), now_s=now_s()):
            self._metrics.put_off.labels("join").inc()
            self._post(host_id, wire.Busy(task_id=task_id, retry_after_s=pause_s))
            return
        if (told := self.host_warming.on_join(host_id, spec)) is not None:
            spec = told
        else:
            self.warming.on_live(task_id)
        self._specs.setdefault(host_id, {})[task_id] = spec
        self._handle(
            PeerJoined(
                host_id=host_id,
                task_id=task_id,
                edition_id=EditionId(message.edition_id),
                held_count=message.held_count,
                credential=self._authorising.credential_of(spec),
            )
        )
        self._metrics.tasks.set(len(self.feeds))

    def _forget_spec(self, host_id: HostId, task_id: TaskId) -> None:
        self._specs.get(host_id, {}).pop(task_id, None)

    # --- instructions

    def _handle(self, event: Event) -> None:
        with self._metrics.scheduler_handle_seconds.time():
            instructions = self._scheduler.handle(event, now_s=now_s())
        for instruction in instructions:
            self._carry_out(instruction)

    def _carry_out(self, instruction: Instruction) -> None:
        match instruction:
            case EnsureSeeded():
                self._start_seeding(instruction)
            case StopSeeding():
                self._seeder.stop(instruction.task_id)
            case AskAccess():
                self._seeder.ask_access(self._specs[instruction.host_id][instruction.task_id])
            case TellEdition():
                self._tell_edition(instruction)
            case OfferParents():
                self._offer(instruction)
            case TellFailed():
                self._forget_spec(instruction.host_id, instruction.task_id)
                self._post(
                    instruction.host_id,
                    wire.Failed(
                        task_id=instruction.task_id,
                        error=instruction.error,
                        message=instruction.message,
                        status=instruction.status,
                        http_headers=instruction.http_headers,
                        can_use_source=instruction.can_use_source,
                    ),
                )
            case AnswerSource():
                self._post(
                    instruction.host_id,
                    wire.SourceAnswered(
                        task_id=instruction.task_id,
                        is_granted=instruction.is_granted,
                        retry_after_s=instruction.retry_after_s,
                    ),
                )
            case BanHost():
                log.warning("host_banned", host=instruction.host_id)
                self._metrics.hosts_banned.inc()
                for host_id in instruction.told:
                    self._post(host_id, wire.Banned(host_id=instruction.host_id))
            case _:
                assert_never(instruction)

    def _post(self, host_id: HostId, message: wire.SuperNodeMessage) -> None:
        if (conversation := self._sessions.get(host_id)) is not None:
            conversation.post(message)

    def _post_encoded(self, host_id: HostId, data: bytes) -> None:
        if (conversation := self._sessions.get(host_id)) is not None:
            conversation.post_encoded(data)

    def _tell_edition(self, told: TellEdition) -> None:
        edition_id = told.edition.edition_id
        entry = self.feeds.entry_of(edition_id)
        if entry is not None and self._key_telling.permit(told.host_id, entry):
            self._post(told.host_id, edition_told(entry, is_stale=told.is_stale))
            self.feeds.subscribe(edition_id, told.host_id)

    def _offer(self, offer: OfferParents) -> None:
        entry = self.feeds.entry_of(offer.edition_id)
        task_id = entry.edition.task_id if entry else ""
        parents = tuple(
            wire.Parent(host_id=host.host_id, address=host.address, location=str(host.location))
            for host in offer.parents
        )
        if offer.has_supernode:
            parents = (wire.Parent(host_id=SUPERNODE, address=""), *parents)
        message = wire.ParentsOffered(task_id=task_id, edition_id=offer.edition_id, parents=parents)
        self._post(offer.host_id, message)

    # --- seeding

    def _begin_seeding(self, spec: TaskSpec) -> bool:
        """Seed a task for the SuperNode itself; False: it is being seeded already."""
        specs = self._specs.setdefault(SUPERNODE, {})
        specs[spec.task_id] = spec
        self._handle(SeedWanted(task_id=spec.task_id))
        return specs.pop(spec.task_id, None) is None

    def _give_up_seeding(self, task_id: TaskId) -> None:
        self._handle(SeedUnwanted(task_id=task_id))

    def _start_seeding(self, instruction: EnsureSeeded) -> None:
        host_id = instruction.host_id
        specs = self._specs[host_id]
        is_own = host_id == SUPERNODE
        spec = specs.pop(instruction.task_id) if is_own else specs[instruction.task_id]
        self._seeder.start(spec, host_id)

    # --- life

    async def tick(self) -> None:
        """Take back grants that nobody used, and end what nobody wants, until cancelled."""
        while True:
            await asyncio.sleep(TICK_S)
            self._handle(Ticked())
            self.feeds.expire_grants()
            self.feeds.end_unwanted(self._scheduler.swarms.__contains__)
            self._metrics.tasks.set(len(self.feeds))
            self._metrics.cache_bytes.set(self._store.used_bytes())
            self._metrics.cache_editions.set(self._store.count())

    def end(self) -> None:
        """Close all sessions and links; hosts go on with each other."""
        for conversation in self._sessions.values():
            conversation.close()
        self.feeds.links.close()

    def views(self) -> Views:
        """Return what operators may see."""
        return Views(self._store, self._scheduler)


def _scheduler(options: SuperNodeOptions, rng: random.Random) -> Scheduler:
    return Scheduler(
        neighbours=options.neighbours,
        children_max=options.children_max,
        fallbacks_max=options.source.fallbacks_max,
        access_window_s=options.source.access_window_s,
        read_on_s=options.read_on_s,
        rng=rng,
    )
