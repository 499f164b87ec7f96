"""Carries out what the mind of a download decides.

Events come from the session, from the links and from fetches; each goes to
`core.downloading.Download`, and each of its instructions becomes one call here.
"""

import asyncio
from typing import Final, assert_never

from damselfly.clock import now_s
from damselfly.core.blocks import BlockSet
from damselfly.core.digest import Digest
from damselfly.core.downloading import events as core, instructions as todo
from damselfly.core.peer import SUPERNODE, HostId
from damselfly.core.task import Edition, EditionId, TaskSpec
from damselfly.errors import (
    DamselflyError,
    DigestMismatchError,
    NoProviderError,
    SourceChangedError,
)
from damselfly.services.downloading import supernode_talk as talk
from damselfly.services.downloading.download_parts import DownloadParts, new_mind
from damselfly.services.downloading.fetches import Fetches
from damselfly.services.downloading.linked_peers import LinkedPeers
from damselfly.services.downloading.news import News
from damselfly.services.downloading.open_edition import OpenEdition, open_entry
from damselfly.services.downloading.own_reading import OwnReading
from damselfly.services.downloading.tally import Tally
from damselfly.services.encrypting.key_gate import KeyGate
from damselfly.services.seeding.pacing import Pace
from damselfly.storage.store import StoredEdition
from damselfly.telemetry.log import get_log
from damselfly.transport.session_client import SessionClient
from damselfly.transport.throttle import Throttle
from damselfly.wire import session_messages as wire
from damselfly.wire.local_messages import DownloadProgress, DownloadRequest, ProviderBytes

TICK_S: Final = 0.1

log = get_log()


class DownloadRun:
    """One download under way.

    Attributes:
        spec: Its task, with what the first requester shows the source.
        credential: That, by name.
        mind: Decides.
        outcome: The sealed entry, or why there is none.
        is_ending: Nobody wants it any more.
        tally: What there is to say about it.
        opened: Its edition, once it is known.
        is_placed: Somebody wants it as a file, and not only to read it.
        is_checked: All is held, and the whole is what was promised of it.
        news: Told when there is more to read, or the end.
    """

    def __init__(
        self,
        parts: DownloadParts,
        spec: TaskSpec,
        request: DownloadRequest,
        pace: Pace | None = None,
    ) -> None:
        self._parts = parts
        self.spec = spec
        self.credential = parts.authorising.credential_of(spec)
        self._is_permitted = request.can_use_source
        self._pace = pace  # of a preheat; None: somebody waits for it
        self._throttle = pace or Throttle(request.rate_bytes_per_s)
        self.mind = new_mind(self._parts, is_permitted=self._is_permitted)
        self.opened: OpenEdition | None = None
        self._peers = LinkedPeers(self._on_link_event, location=parts.links.location)
        self._fetches = Fetches(tell=self.handle, count=self._count_fetched, give_up=self._end_with)
        self._own_reading = OwnReading(parts, spec, self, throttle=self._throttle)
        self._talk = talk.SuperNodeTalk(parts.session, spec)
        self._inbox: asyncio.Queue[wire.SuperNodeMessage] = asyncio.Queue()
        self._gate = KeyGate(parts.ciphers, has_key=self._has_key, post=self._talk.post)
        self._tasks: asyncio.TaskGroup | None = None
        self._running: asyncio.Task[None] | None = None
        self._failure: DamselflyError | None = None  # the reason behind a Fail
        self._has_restarted = False
        self._reading: asyncio.Task[None] | None = None  # from the source
        self._is_direct = False  # all of it comes from the source: no SuperNode has a say
        self._sealed_digest: Digest | None = None
        self.outcome: asyncio.Future[StoredEdition] = asyncio.get_running_loop().create_future()
        self.outcome.add_done_callback(lambda _: self.news.tell())
        self.is_checked = self.is_placed = False
        self.news: News = News()
        self.is_ending = False
        self.tally = Tally(parts.metrics)

    @property
    def entry(self) -> StoredEdition | None:
        """Where its blocks go, once its edition is known; pinned."""
        return self.opened.entry if self.opened else None

    def progress(self) -> DownloadProgress:
        """Return how far it is."""
        size = self.entry.edition.size_bytes if self.entry else None
        return self.tally.progress(size_bytes=size, parent_count=len(self._peers))

    def read_along(self, reader: int, block_index: int | None) -> None:
        """Prefer what a reader needs next; None: it has gone."""
        if self._parts.session is not None and not self._is_done:
            self.handle(core.ReaderMoved(reader=reader, block_index=block_index))

    # --- life

    def permit(self, *, is_permitted: bool) -> None:
        """Allow or forbid to go to the source, from now on."""
        if is_permitted == self._is_permitted:
            return
        self._is_permitted = is_permitted
        if self._is_direct and not is_permitted:
            self._end_with(NoProviderError(reason=todo.GiveUp.SOURCE_FORBIDDEN))
        self.handle(core.SourcePermitted(is_permitted=is_permitted))

    def take_over(self, spec: TaskSpec) -> None:
        """Somebody waits for what was only to be warm: go on at once, with what they show."""
        if self._pace is None or not self._pace.lift():
            return
        self.spec, self.credential = spec, self._parts.authorising.credential_of(spec)
        self._talk = talk.SuperNodeTalk(self._parts.session, spec)
        self._own_reading = OwnReading(self._parts, spec, self, throttle=self._throttle)
        if not self._is_done:
            self._join()
            self._fetches.hurry()

    def start(self) -> None:
        """Begin."""
        self._running = asyncio.ensure_future(self._run())

    def cancel(self) -> None:
        """Stop; what is stored stays, and what its links still tell comes too late."""
        self.is_ending = True
        if self._running is not None:
            self._running.cancel()

    async def end(self) -> None:
        """Stop, and wait until everything has stopped; more than one may call it."""
        if not self.is_ending:
            self.cancel()
        if self._running is not None:
            await asyncio.wait([self._running])
        if self._pace is not None:
            self._pace.end()
        if self.entry is not None:
            self.entry.unpin()
            self.opened = None

    async def _run(self) -> None:
        try:
            async with asyncio.TaskGroup() as self._tasks:
                if self._parts.session is None and not self._is_permitted:
                    reason = f"{todo.GiveUp.SOURCE_FORBIDDEN}, and there is no SuperNode"
                    self._end_with(NoProviderError(reason=reason))
                elif self._parts.session is None:
                    self._tasks.create_task(self._obtain_directly())
                else:
                    self._begin_with_supernode(self._parts.session)
                await asyncio.wait([self.outcome])
                self._stop_tasks()
        except asyncio.CancelledError:
            if not self.outcome.done():
                self._leave()
                self.outcome.cancel()
            raise
        except BaseExceptionGroup as group:  # the supervisor of this download
            log.exception("download_broke", task=self.spec.task_id)
            self._end_with(
                DamselflyError(f"a bug of ours ended the download: {group.exceptions[0]!r}")
            )
        finally:
            if self.opened is not None:
                self.opened.stop_hashing()
                self._parts.links.unlisten(self.opened.entry.edition.edition_id)

    def _begin_with_supernode(self, session: SessionClient) -> None:
        assert self._tasks is not None
        self._background = [
            self._tasks.create_task(self._read_inbox()),
            self._tasks.create_task(self._tick()),
        ]
        if session.is_open:
            self._join()
        elif session.error is not None:
            self.on_session_lost()

    def _stop_tasks(self) -> None:
        self._fetches.cancel_all()
        for task in getattr(self, "_background", []):
            task.cancel()
        if self.outcome.cancelled() or self.outcome.exception():
            self._leave()
        else:  # those who miss something keep their link, and get it from here
            if self._is_direct:
                self._talk.leave()  # somebody else may go to the source now
            self._peers.close(self.mind.whole_parents())

    def _leave(self) -> None:
        self._talk.leave()
        if self.entry is not None:
            self._parts.links.close_edition(self.entry.edition.edition_id)

    def _end_well(self, entry: StoredEdition) -> None:
        self.is_checked = True
        if not self.outcome.done():
            self.outcome.set_result(entry)

    def _end_with(self, error: DamselflyError) -> None:
        if not self.outcome.done():
            self.outcome.set_exception(error)
            self.outcome.exception()  # nobody may wait any more

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self.handle(core.Ticked())

    # --- session

    def _join(self) -> None:
        here = self._parts.store.editions_of(self.spec.task_id)
        self._talk.join(self.entry or next(iter(here), None))

    def on_session(self) -> None:
        """The session is open."""
        if not self._is_done:
            self.handle(core.SuperNodeBack())
            self._join()

    def on_session_lost(self) -> None:
        """The session ended, or could not be opened."""
        if self._is_done:
            return
        session = self._parts.session
        if session is not None and session.error is not None:
            self._failure = self._failure or session.error
            self.tally.note(f"{session.error}; going on without it")
        self.handle(core.SuperNodeLost())

    def on_message(self, message: wire.SuperNodeMessage) -> None:
        """Take in a message; they are looked at one after the other."""
        self._inbox.put_nowait(message)

    @property
    def _is_done(self) -> bool:
        return self.outcome.done() or self.mind.is_finished

    async def _read_inbox(self) -> None:
        while True:
            message = await self._inbox.get()
            try:
                for each in self._gate.admit(message):
                    await self._take_in(each)
            except DamselflyError as exc:
                self._end_with(exc)

    async def _take_in(self, message: wire.SuperNodeMessage) -> None:
        if self._is_done or self._is_direct:
            return
        match message:
            case wire.EditionTold():
                await self._on_edition_told(message)
            case wire.BlocksListed():
                self._on_blocks_listed(message)
            case wire.Sealed():
                await self._on_sealed(message)
            case wire.ParentsOffered():
                self._on_parents_offered(message)
            case wire.Failed():
                self._on_failed(message)
            case wire.SourceAnswered() | wire.Banned():
                self.handle(talk.event_told(message))
            case _:
                pass  # downloads.py, warming.py and the gate see to the others

    async def _on_edition_told(self, told: wire.EditionTold) -> None:
        edition = talk.edition_told(told, self.spec)
        self.tally.is_stale = told.is_stale
        if told.is_stale:
            self.tally.note("the source could not be asked whether this is still its content")
        if self.entry is not None:
            if self.entry.edition.edition_id == edition.edition_id:
                return  # the SuperNode came back; nothing has changed
            self.tally.note("the source has changed; starting anew with its new content")
            self._drop_edition()
        self._parts.authorising.accept(self.spec)  # or the SuperNode would not have told it
        await self._start_edition(edition, is_public=told.is_public)
        self.news.tell()
        if told.content:
            await self._store_content(told.content)

    async def _start_edition(self, edition: Edition, *, is_public: bool) -> None:
        entry = await open_entry(
            self._parts.store, edition, key=self._gate.key, is_public=is_public
        )
        opened = OpenEdition(self._parts, entry, throttle=self._throttle)
        self.opened, self.tally.state = opened, "fetching"
        if self.is_placed:
            await asyncio.to_thread(entry.begin_plain)
        if self.spec.digest is not None:
            opened.hash_along(self.spec.digest)
        held = entry.held
        self.tally.bytes_by.cache = opened.bytes_of(held)
        self._parts.links.listen(edition.edition_id, self._peers)
        size = entry.edition.size_bytes
        self.handle(
            core.EditionStarted(
                block_count=None if size is None else entry.edition.layout.block_count,
                held=held,
                listed=held,
            )
        )

    def _has_key(self, edition_id: EditionId) -> bool:
        entry = self._parts.store.find(edition_id)
        return entry is not None and not entry.is_locked

    def _drop_edition(self) -> None:
        """Let the present edition go, to begin with another one."""
        assert self.opened is not None
        self._fetches.cancel_all()
        self.opened.stop_hashing()
        self._parts.links.unlisten(self.opened.entry.edition.edition_id)
        self._parts.links.close_edition(self.opened.entry.edition.edition_id)
        self.opened.entry.unpin()
        self.opened = None
        self._peers.clear()
        self.tally.bytes_by = ProviderBytes()
        steps = self.mind.steps_below
        self.mind = new_mind(self._parts, is_permitted=self._is_permitted)
        self.handle(core.Outranked(steps=steps))

    async def _store_content(self, content: bytes) -> None:
        """Store a content that came whole in a message."""
        assert self.opened is not None
        async for block_index in self.opened.store_content(content):
            self.tally.count("supernode", self.opened.bytes_of(BlockSet.of([block_index])))
            self.handle(core.BlocksListed(blocks=BlockSet.of([block_index])))
            self.handle(core.BlockStored(block_index=block_index, host_id=None))

    def _on_blocks_listed(self, message: wire.BlocksListed) -> None:
        if self.opened is not None and self._is_about_us(message.edition_id):
            blocks = self.opened.list_blocks(message.first_index, message.digests)
            self.handle(core.BlocksListed(blocks=blocks))

    async def _on_sealed(self, message: wire.Sealed) -> None:
        if self.opened is None or not self._is_about_us(message.edition_id):
            return
        await self.opened.set_size(message.size_bytes)
        self._sealed_digest = Digest.parse(message.digest) if message.digest else None
        self.handle(core.Sealed(block_count=self.opened.entry.edition.layout.block_count))

    def _is_about_us(self, edition_id: str) -> bool:
        return self.entry is not None and self.entry.edition.edition_id == edition_id

    def _on_parents_offered(self, message: wire.ParentsOffered) -> None:
        if self._is_about_us(message.edition_id) and self._parts.session is not None:
            host_ids = self._peers.offer(message.parents, supernode=self._parts.session.address)
            self.handle(core.ParentsOffered(host_ids=host_ids))

    def _on_link_event(self, event: core.Event, digest: bytes = b"") -> None:
        if isinstance(event, core.BlockGranted) and self.opened is not None:
            self.opened.digests.setdefault(event.block_index, digest)
        self.handle(event)

    def _on_failed(self, message: wire.Failed) -> None:
        error = talk.error_told(message)
        if isinstance(error, SourceChangedError) and self.restart():
            self._join()
            return
        if isinstance(error, DigestMismatchError) and self.entry is not None:
            self._parts.store.drop(self.entry)
        if not message.can_use_source:
            self._end_with(error)
            return
        self._failure = error
        self.tally.note(f"{error}; asking for leave to go to the source")
        self.handle(core.SuperNodeFailed(can_use_source=True))

    def restart(self) -> bool:
        """Begin anew with the source's new content; False: it did so once already."""
        if self._has_restarted:
            return False
        self._has_restarted = True
        self.tally.note("the source changed during the download; starting anew")
        if self.entry is not None:
            self._drop_edition()
        return True

    # --- instructions

    def handle(self, event: core.Event) -> None:
        """Tell the mind what happened, and carry out what it wants."""
        if self.is_ending or (self.outcome.done() and not isinstance(event, core.BlockGranted)):
            return
        for instruction in self.mind.handle(event, now_s=now_s()):
            self._carry_out(instruction)

    def _carry_out(self, instruction: todo.Instruction) -> None:  # noqa: C901, PLR0912  # a dispatch
        assert self._tasks is not None
        match instruction:
            case todo.FetchBlock():
                self._fetch(instruction.block_index, instruction.host_id)
            case todo.CancelFetch():
                self._fetches.cancel(instruction.block_index, instruction.host_id)
            case todo.LinkParent():
                assert self.entry is not None
                address = self._peers.address_of(instruction.host_id)
                self._parts.links.open(self.entry.edition.edition_id, instruction.host_id, address)
            case todo.AnnounceBlock():
                self._announce(instruction.block_index)
            case todo.ClaimBlocks():
                self._peers.claim(self._parts.links, instruction.block_indices)
            case todo.DeclineGrant():
                self._peers.decline(instruction.block_index)
            case todo.ReportProgress() | todo.Complain() | todo.AskSource():
                is_idle = self._parts.uploads.load < self._parts.slots
                self._talk.tell(instruction, self.entry, is_idle=is_idle)
            case todo.FetchFromSource():
                self._reading = self._tasks.create_task(self._go_to_source(instruction))
            case todo.StopSource():
                assert self._reading is not None
                self._reading.cancel()
            case todo.Finish():
                assert self.opened is not None
                self._parts.links.tell_rest(self.opened.entry.edition.edition_id)
                self._tasks.create_task(self._finish())
            case todo.Fail():
                count, reason = instruction.missing_count, instruction.reason.value
                if self._failure is not None and reason != todo.GiveUp.SOURCE_FORBIDDEN:
                    self._end_with(self._failure)
                else:
                    self._end_with(NoProviderError(missing_count=count, reason=reason))
            case _:
                assert_never(instruction)

    def _announce(self, block_index: int) -> None:
        assert self.opened is not None
        self._parts.links.announce(self.opened.entry.edition.edition_id, block_index)
        self.opened.on_held(block_index)
        self.news.tell()

    # --- fetching

    def _fetch(self, block_index: int, host_id: HostId) -> None:
        assert self._tasks is not None
        assert self.opened is not None
        address = self._peers.address_of(host_id)
        self._fetches.start(self._tasks, self.opened, block_index, host_id, address)

    def _count_fetched(self, block_index: int, host_id: HostId, count: int) -> None:
        if block_index not in self.mind.held:
            self.tally.count("supernode" if host_id == SUPERNODE else "peers", count)

    # --- the source

    async def _obtain_directly(self) -> None:
        self._is_direct = True
        try:
            entry = await self._own_reading.obtain()
        except DamselflyError as exc:
            self._end_with(exc)
        else:
            self._end_well(entry)

    async def _go_to_source(self, instruction: todo.FetchFromSource) -> None:
        if self.opened is None:
            self.tally.note("downloading from the source directly")
            await self._obtain_directly()
            return
        self.tally.note("taking missing blocks from the source directly")
        error = await self._own_reading.read_run(instruction.first_index, instruction.stop_index)
        self._failure = error or self._failure
        self.handle(core.SourceEnded(is_ok=error is None))

    # --- the end

    async def _finish(self) -> None:
        assert self.opened is not None
        entry = self.opened.entry
        self.tally.state = "checking"
        try:
            # What the SuperNode checked is the same bytes: each block has its digest. What the
            # user gave is checked here as well, whoever checked it before.
            if self.spec.digest is not None:
                await self.opened.check(self._parts.store, self.spec.digest)
            self.is_checked = True
            self.news.tell()
            await asyncio.to_thread(entry.seal, self._sealed_digest)
        except DamselflyError as exc:
            self._end_with(exc)
        else:
            self._end_well(entry)
