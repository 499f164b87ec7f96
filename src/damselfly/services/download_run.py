"""Carries out what the mind of a download decides.

Events come from the session, from the links and from fetches; each goes to
`core.downloading.Download`, and each of its instructions becomes one call here.
"""

import asyncio
from typing import Final, assert_never

from damselfly.clock import now_s
from damselfly.core.blocks import BlockSet
from damselfly.core.digest import Digest
from damselfly.core.downloading import events as core
from damselfly.core.downloading import instructions as todo
from damselfly.core.downloading.download import Download
from damselfly.core.peer import SUPERNODE, HostId
from damselfly.core.task import Edition, TaskSpec
from damselfly.errors import (
    DamselflyError,
    NoProviderError,
    ParentError,
    RemoteProtocolError,
    SourceChangedError,
    revive,
)
from damselfly.services import supernode_talk as talk
from damselfly.services.block_fetcher import failed_fetch
from damselfly.services.download_parts import DownloadParts
from damselfly.services.linked_peers import LinkedPeers
from damselfly.services.open_edition import OpenEdition
from damselfly.services.reading import check_whole
from damselfly.services.tally import Tally
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
        mind: Decides.
        outcome: The sealed entry, or why there is none.
        tally: What there is to say about it.
    """

    def __init__(self, parts: DownloadParts, spec: TaskSpec, request: DownloadRequest) -> None:
        self._parts = parts
        self._spec = spec
        self._is_permitted = request.can_use_source
        self._throttle = Throttle(request.rate_bytes_per_s)
        self.mind = self._new_mind()
        self._open: OpenEdition | None = None
        self._peers = LinkedPeers(self._on_link_event)
        self._fetches: dict[tuple[int, HostId], asyncio.Task[None]] = {}
        self._inbox: asyncio.Queue[wire.SuperNodeMessage] = asyncio.Queue()
        self._tasks: asyncio.TaskGroup | None = None
        self._running: asyncio.Task[None] | None = None
        self._failure: DamselflyError | None = None  # the reason behind a Fail
        self._has_restarted = False
        self._reading: asyncio.Task[None] | None = None  # from the source
        self._is_direct = False  # all of it comes from the source: no SuperNode has a say
        self._sealed_digest: Digest | None = None
        self.outcome: asyncio.Future[StoredEdition] = asyncio.get_running_loop().create_future()
        self.tally = Tally(parts.metrics)

    def _new_mind(self) -> Download:
        return Download(
            slots=self._parts.slots,
            can_use_source=self._is_permitted,
            rng=self._parts.rng,
            now_s=now_s(),
        )

    @property
    def _entry(self) -> StoredEdition | None:
        return self._open.entry if self._open else None

    def progress(self) -> DownloadProgress:
        """Return how far it is."""
        entry = self._entry
        size = entry.edition.size_bytes if entry else None
        return self.tally.progress(size_bytes=size, parent_count=len(self._peers))

    # --- life

    def permit(self, *, is_permitted: bool) -> None:
        """Allow or forbid to go to the source, from now on."""
        if is_permitted == self._is_permitted:
            return
        self._is_permitted = is_permitted
        if self._is_direct and not is_permitted:
            self._end_with(NoProviderError(reason=todo.GiveUp.SOURCE_FORBIDDEN))
        self._handle(core.SourcePermitted(is_permitted=is_permitted))

    def start(self) -> None:
        """Begin."""
        self._running = asyncio.ensure_future(self._run())

    def cancel(self) -> None:
        """Stop; what is stored stays."""
        if self._running is not None:
            self._running.cancel()

    async def end(self) -> None:
        """Stop, and wait until everything has stopped."""
        self.cancel()
        if self._running is not None:
            await asyncio.wait([self._running])
        if self._entry is not None:
            self._entry.unpin()
            self._open = None

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
            log.exception("download_broke", task=self._spec.task_id)
            self._end_with(
                DamselflyError(f"a bug of ours ended the download: {group.exceptions[0]!r}")
            )
        finally:
            if self._entry is not None:
                self._parts.links.unlisten(self._entry.edition.edition_id)

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
        for task in [*self._fetches.values(), *getattr(self, "_background", [])]:
            task.cancel()
        if self.outcome.cancelled() or self.outcome.exception():
            self._leave()
        else:  # those who miss something keep their link, and get it from here
            self._peers.close(self.mind.whole_parents())

    def _leave(self) -> None:
        if self._parts.session is not None:
            self._parts.session.post(wire.Leave(task_id=self._spec.task_id))
        if self._entry is not None:
            self._parts.links.close_edition(self._entry.edition.edition_id)

    def _end_with(self, error: DamselflyError) -> None:
        if not self.outcome.done():
            self.outcome.set_exception(error)
            self.outcome.exception()  # nobody may wait any more

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self._handle(core.Ticked())

    # --- session

    def _join(self) -> None:
        assert self._parts.session is not None
        here = self._parts.store.editions_of(self._spec.task_id)
        entry = self._entry or next(iter(here), None)
        self._parts.session.post(talk.join_message(self._spec, entry))

    def on_session(self) -> None:
        """The session is open."""
        if not self._is_done:
            self._handle(core.SuperNodeBack())
            self._join()

    def on_session_lost(self) -> None:
        """The session ended, or could not be opened."""
        if self._is_done:
            return
        session = self._parts.session
        if session is not None and session.error is not None:
            self._failure = self._failure or session.error
            self.tally.note(f"{session.error}; going on without it")
        self._handle(core.SuperNodeLost())

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
                await self._take_in(message)
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
                self._handle(talk.event_told(message))
            case wire.Welcome():
                pass
            case _:
                assert_never(message)

    async def _on_edition_told(self, told: wire.EditionTold) -> None:
        edition = talk.edition_told(told, self._spec)
        self.tally.is_stale = told.is_stale
        if told.is_stale:
            self.tally.note("the source could not be asked whether this is still its content")
        if self._entry is not None:
            if self._entry.edition.edition_id == edition.edition_id:
                return  # the SuperNode came back; nothing has changed
            self.tally.note("the source has changed; starting anew with its new content")
            self._drop_edition()
        await self._start_edition(edition)
        if told.content:
            await self._store_content(told.content)

    async def _start_edition(self, edition: Edition) -> None:
        entry = await asyncio.to_thread(self._parts.store.open, edition)
        opened = OpenEdition(self._parts, entry, throttle=self._throttle)
        self._open, self.tally.state = opened, "fetching"
        if entry.edition.size_bytes is None and edition.size_bytes is not None:
            await asyncio.to_thread(entry.set_size, edition.size_bytes)
        held = entry.held
        self.tally.bytes_by.cache = opened.bytes_of(held)
        self._parts.links.listen(edition.edition_id, self._peers)
        size = entry.edition.size_bytes
        self._handle(
            core.EditionStarted(
                block_count=None if size is None else entry.edition.layout.block_count,
                held=held,
                listed=held,
            )
        )

    def _drop_edition(self) -> None:
        """Let the present edition go, to begin with another one."""
        assert self._entry is not None
        for task in self._fetches.values():
            task.cancel()
        self._fetches.clear()
        self._parts.links.unlisten(self._entry.edition.edition_id)
        self._parts.links.close_edition(self._entry.edition.edition_id)
        self._entry.unpin()
        self._open = None
        self._peers.clear()
        self.tally.bytes_by = ProviderBytes()
        self.mind = self._new_mind()

    async def _store_content(self, content: bytes) -> None:
        """Store a content that came whole in a message."""
        assert self._open is not None
        async for block_index in self._open.store_content(content):
            self.tally.count("supernode", self._open.bytes_of(BlockSet.of([block_index])))
            self._handle(core.BlocksListed(blocks=BlockSet.of([block_index])))
            self._handle(core.BlockStored(block_index=block_index, host_id=None))

    def _on_blocks_listed(self, message: wire.BlocksListed) -> None:
        if self._open is not None and self._is_about_us(message.edition_id):
            blocks = self._open.list_blocks(message.first_index, message.digests)
            self._handle(core.BlocksListed(blocks=blocks))

    async def _on_sealed(self, message: wire.Sealed) -> None:
        entry = self._entry
        if entry is None or not self._is_about_us(message.edition_id):
            return
        if entry.edition.size_bytes is None:
            await asyncio.to_thread(entry.set_size, message.size_bytes)
        elif entry.edition.size_bytes != message.size_bytes:
            raise RemoteProtocolError("the SuperNode told two lengths of one edition")
        self._sealed_digest = Digest.parse(message.digest) if message.digest else None
        self._handle(core.Sealed(block_count=entry.edition.layout.block_count))

    def _is_about_us(self, edition_id: str) -> bool:
        return self._entry is not None and self._entry.edition.edition_id == edition_id

    def _on_parents_offered(self, message: wire.ParentsOffered) -> None:
        if self._is_about_us(message.edition_id) and self._parts.session is not None:
            host_ids = self._peers.offer(message.parents, supernode=self._parts.session.address)
            self._handle(core.ParentsOffered(host_ids=host_ids))

    def _on_link_event(self, event: core.Event, digest: bytes = b"") -> None:
        if isinstance(event, core.BlockGranted) and self._open is not None:
            self._open.digests.setdefault(event.block_index, digest)
        self._handle(event)

    def _on_failed(self, message: wire.Failed) -> None:
        error = revive(message.error, message.message, http_status=message.status)
        if isinstance(error, SourceChangedError) and not self._has_restarted:
            self._restart()
            self._join()
            return
        if not message.can_use_source:
            self._end_with(error)
            return
        self._failure = error
        self.tally.note(f"{error}; going to the source instead")
        self._handle(core.SuperNodeFailed(can_use_source=True))

    def _restart(self) -> None:
        """Begin anew with the source's new content, once."""
        self._has_restarted = True
        self.tally.note("the source changed during the download; starting anew")
        if self._entry is not None:
            self._drop_edition()

    # --- instructions

    def _handle(self, event: core.Event) -> None:
        if self.outcome.done() and not isinstance(event, core.BlockGranted):
            return
        for instruction in self.mind.handle(event, now_s=now_s()):
            self._carry_out(instruction)

    def _carry_out(self, instruction: todo.Instruction) -> None:  # noqa: C901, PLR0912  # a dispatch
        assert self._tasks is not None
        match instruction:
            case todo.FetchBlock():
                key = (instruction.block_index, instruction.host_id)
                self._fetches[key] = self._tasks.create_task(self._fetch(*key))
            case todo.CancelFetch():
                key = (instruction.block_index, instruction.host_id)
                if (fetch := self._fetches.get(key)) is not None:
                    fetch.cancel()
            case todo.LinkParent():
                assert self._entry is not None
                self._parts.links.open(
                    self._entry.edition.edition_id,
                    instruction.host_id,
                    self._peers.address_of(instruction.host_id),
                )
            case todo.AnnounceBlock():
                assert self._entry is not None
                self._parts.links.announce(self._entry.edition.edition_id, instruction.block_index)
            case todo.DeclineGrant():
                self._peers.decline(instruction.block_index)
            case todo.ReportProgress() | todo.Complain() | todo.AskSource():
                self._tell_supernode(instruction)
            case todo.FetchFromSource():
                self._reading = self._tasks.create_task(self._go_to_source(instruction))
            case todo.StopSource():
                assert self._reading is not None
                self._reading.cancel()
            case todo.Finish():
                self._tasks.create_task(self._finish())
            case todo.Fail():
                count, reason = instruction.missing_count, instruction.reason.value
                if self._failure is not None and reason != todo.GiveUp.SOURCE_FORBIDDEN:
                    self._end_with(self._failure)
                else:
                    self._end_with(NoProviderError(missing_count=count, reason=reason))
            case _:
                assert_never(instruction)

    def _tell_supernode(self, instruction: talk.Told) -> None:
        if self._parts.session is None:
            return
        if isinstance(instruction, todo.Complain):
            log.warning("parent_failed", host=instruction.host_id, why=instruction.reason)
        is_idle = self._parts.uploads.load < self._parts.slots
        told = talk.told_message(instruction, self._spec, self._entry, is_idle=is_idle)
        self._parts.session.post(told)

    # --- fetching

    async def _fetch(self, block_index: int, host_id: HostId) -> None:
        """Fetch a block from a parent, and tell the mind how it went."""
        assert self._open is not None
        try:
            count = await self._open.fetch(block_index, host_id, self._peers.address_of(host_id))
        except ParentError as exc:
            log.debug("fetch_failed", host=host_id, block_index=block_index, reason=str(exc))
            del self._fetches[block_index, host_id]
            self._handle(failed_fetch(block_index, host_id, exc))
        except DamselflyError as exc:
            self._end_with(exc)  # our own disk
        except asyncio.CancelledError:
            self._fetches.pop((block_index, host_id), None)
            raise
        else:
            del self._fetches[block_index, host_id]
            if block_index not in self.mind.held:
                self.tally.count("supernode" if host_id == SUPERNODE else "peers", count)
            self._handle(core.BlockStored(block_index=block_index, host_id=host_id))

    # --- the source

    def on_edition(self, entry: StoredEdition, *, is_stale: bool) -> None:
        """Reading the source without a SuperNode: the edition is known."""
        self._open = OpenEdition(self._parts, entry, throttle=self._throttle)
        self.tally.state, self.tally.is_stale = "fetching", is_stale
        self.tally.bytes_by.cache = self._open.bytes_of(entry.held)

    def on_block(self, block_index: int, digest: bytes) -> None:
        """Reading the source without a SuperNode: a block is stored."""
        assert self._open is not None
        self._open.digests[block_index] = digest
        self.tally.count("source", self._open.bytes_of(BlockSet.of([block_index])))
        self._parts.links.announce(self._open.entry.edition.edition_id, block_index)

    async def _obtain_directly(self) -> None:
        """Get the edition as a SuperNode would: from the cache, else from the source."""
        self._is_direct = True
        try:
            entry = await self._parts.seeding.obtain(self._spec, self)
        except SourceChangedError as exc:
            if self._has_restarted:
                self._end_with(exc)
                return
            self._restart()
            await self._obtain_directly()
            return
        except DamselflyError as exc:
            self._end_with(exc)
            return
        if not self.outcome.done():
            self.outcome.set_result(entry)

    async def _go_to_source(self, instruction: todo.FetchFromSource) -> None:
        opened = self._open
        if opened is None:
            self.tally.note("downloading from the source directly")
            await self._obtain_directly()
            return
        entry = opened.entry
        span = opened.span_of(instruction.first_index, instruction.stop_index)
        self.tally.note("taking missing blocks from the source directly")
        is_ok = True
        try:
            await self._parts.seeding.read_span(
                self._spec, entry, span, opened.digests.get, self._on_source_block
            )
            if entry.edition.size_bytes is not None and span is None:
                self._handle(core.Sealed(block_count=entry.edition.layout.block_count))
        except DamselflyError as exc:
            self._failure, is_ok = exc, False
            log.warning("source_failed", task=self._spec.task_id, reason=str(exc))
        self._handle(core.SourceEnded(is_ok=is_ok))

    def _on_source_block(self, block_index: int, digest: bytes) -> None:
        self.on_block(block_index, digest)
        self._handle(core.BlocksListed(blocks=BlockSet.of([block_index])))
        self._handle(core.BlockStored(block_index=block_index, host_id=None))

    # --- the end

    async def _finish(self) -> None:
        entry = self._entry
        assert entry is not None
        self.tally.state = "checking"
        try:
            # What the SuperNode checked is the same bytes: each block has its digest. What the
            # user gave is checked here as well, whoever checked it before.
            if self._spec.digest is not None:
                await check_whole(self._parts.store, entry, self._spec.digest)
            await asyncio.to_thread(entry.seal, self._sealed_digest)
        except DamselflyError as exc:
            self._end_with(exc)
            return
        if not self.outcome.done():
            self.outcome.set_result(entry)
