"""The mind of one download: one event in, the instructions it causes out.

It knows which blocks are missing, which parents hold what, and which fetches run, and keeps
all slots busy with blocks that help. It reads no clock and throws no dice of its own:
`services/downloading/downloads.py` carries its instructions out.

When nobody gives anything any more, it turns to the source, in this order: it asks the
SuperNode, which has a budget; without a SuperNode it waits a little for it to come back, and
only then goes by itself. `can_use_source=False` forbids the last step.
"""

import random
from collections import deque
from typing import assert_never

from damselfly.core.blocks import BlockSet
from damselfly.core.downloading.events import (
    BlockGranted,
    BlocksListed,
    BlockStored,
    EditionStarted,
    Event,
    Failure,
    FetchFailed,
    Loss,
    Outranked,
    ParentBanned,
    ParentHeld,
    ParentLinked,
    ParentLost,
    ParentsOffered,
    ReaderMoved,
    Sealed,
    SourceAnswered,
    SourceEnded,
    SourcePermitted,
    SuperNodeBack,
    SuperNodeFailed,
    SuperNodeLost,
    Ticked,
)
from damselfly.core.downloading.importing import Turns, is_patient
from damselfly.core.downloading.instructions import (
    AnnounceBlock,
    CancelFetch,
    ClaimBlocks,
    Complain,
    DeclineGrant,
    Fail,
    FetchBlock,
    Finish,
    Instruction,
    LinkParent,
    ReportProgress,
)
from damselfly.core.downloading.last_resort import LastResort, Outlook
from damselfly.core.downloading.parents import Parents
from damselfly.core.downloading.picking import (
    WINDOW_BLOCKS_MIN,
    WINDOW_SHARE,
    Pick,
    near_bits,
    pick,
    some_run,
)
from damselfly.core.downloading.sharing import slots_below
from damselfly.core.peer import SUPERNODE, HostId
from damselfly.errors import InvalidTransitionError

AHEAD = 2  # requests beyond the slots: they wait in parents' queues while the others move
ENDGAME_BLOCKS = 16  # the study: of these, late ones are fetched twice; wastes below 0.2 %
ENDGAME_COPIES_MAX = 2
ENDGAME_PATIENCE = 1.5  # times the usual duration of a fetch; earlier copies only add load
REPORT_S = 2.0
REPORT_HUNGRY_S = 0.5  # a hungry peer may speak earlier
SEAL_WAIT_S = 30.0  # all blocks are here and right; a SuperNode that stays silent is not waited for
STORY_EVENTS_MAX = 50


class Download:
    """What one peer does for one task.

    Attributes:
        held: Blocks that are stored and verified.
        listed: Blocks whose digests are known.
        block_count: None while nobody knows.
        is_finished: `Finish` or `Fail` was given.
        retry_count: Fetches that failed and were tried elsewhere.
        steps_below: By how much other downloads of this host are more urgent.
    """

    def __init__(
        self,
        *,
        slots: int = 4,
        can_use_source: bool,
        host_id: HostId,
        is_placed: bool = False,
        rng: random.Random,
        now_s: float,
    ) -> None:
        self._slots = self._slots_alone = slots + AHEAD
        self.steps_below = 0
        self._rng = rng
        self.parents = Parents()
        # {block: {parent: since when}}: fetches under way; SUPERNODE for granted ones.
        self._running: dict[int, dict[HostId, float]] = {}
        self._running_bits = 0
        self._free_count = self._slots  # fetches that may begin; granted ones do not count
        self._unread: list[ParentHeld] = []  # news that came while nothing could be fetched
        self.held = BlockSet()
        self.listed = BlockSet()
        self.block_count: int | None = None
        # {reader: the block it waits for}: those who read the content while it comes.
        self._readers: dict[int, int] = {}
        self._put_off: deque[BlockGranted] = deque()  # while others are more urgent
        self._is_started = False
        self._is_sealed = False
        self.is_finished = False
        self.retry_count = 0
        self._moved_s = now_s  # when a block came last
        self._is_placed = is_placed
        self._claimed: set[int] = set()
        self._turns = Turns(host_id)
        self._fetch_s = 0.5  # moving average of a fetch's duration; the first guess
        self._reported_s = now_s
        self._complete_s: float | None = None
        self._last_resort = LastResort(can_use_source=can_use_source, now_s=now_s)
        # What happened last, but for what parents hold.
        self._story: deque[Event] = deque(maxlen=STORY_EVENTS_MAX)

    def handle(self, event: Event, *, now_s: float) -> list[Instruction]:
        """Take in one event and return what must be done because of it."""
        if self.is_finished:
            return self._after_finish(event)
        if isinstance(event, ParentHeld):  # most events are, and must cost little
            self._unread.append(event)
            if self._free_count <= 0 or not self._read_news():
                return []
        else:
            self._story.append(event)
            self._read_news()
        instructions = self._take_in(event, now_s)
        if self._put_off:
            instructions += self._take_up(now_s)
        instructions += self._fill(now_s)
        instructions += self._conclude(now_s)
        return instructions

    def check(self) -> None:
        """Assert the invariants."""
        pairs = [(host, block) for block, hosts in self._running.items() for host in hosts]
        pulled = [host for host, _ in pairs if host != SUPERNODE]
        assert len(pulled) == self._slots - self._free_count <= self._slots_alone
        assert len(set(pulled)) == len(pulled), "one request per pair"
        assert BlockSet.of(self._running).bits == self._running_bits
        assert not self._running_bits & self.held.bits
        if self.block_count is not None:
            assert self.held.bits >> self.block_count == 0

    @property
    def missing_bits(self) -> int:
        """Blocks that are wanted and not held, as far as they are known."""
        if self.block_count is not None:
            return ((1 << self.block_count) - 1) & ~self.held.bits
        return self.listed.bits & ~self.held.bits

    # --- events

    def _after_finish(self, event: Event) -> list[Instruction]:
        """A finished download only refuses what is still offered to it."""
        if isinstance(event, BlockGranted):
            return [DeclineGrant(block_index=event.block_index)]
        return []

    def _take_in(self, event: Event, now_s: float) -> list[Instruction]:  # noqa: C901, PLR0912  # a dispatch
        match event:
            case ParentHeld():
                pass  # what follows each event looks at the parents
            case Ticked():
                if self.parents.rack.is_divided:
                    self._turns.tick(self.parents.unclaimed_bits(now_s=now_s))
            case BlockStored():
                return self._on_block_stored(event, now_s)
            case EditionStarted():
                return self._on_edition_started(event, now_s)
            case BlocksListed():
                self.listed.update(event.blocks)
            case Sealed():
                self._is_sealed, self.block_count = True, event.block_count
            case ParentsOffered():
                return [
                    LinkParent(host_id=host_id)
                    for host_id in event.host_ids
                    if host_id not in self.parents
                ]
            case ParentLinked():
                self.parents.link(
                    event.host_id,
                    event.held,
                    load=event.load,
                    can_give=event.can_give,
                    asked=self._asked_of(event.host_id),
                    is_far=event.is_far,
                )
            case ParentLost():
                return self._on_parent_lost(event)
            case ParentBanned():
                self.parents.ban(event.host_id)
            case BlockGranted():
                return self._on_block_granted(event, now_s)
            case FetchFailed():
                return self._on_fetch_failed(event, now_s)
            case ReaderMoved():
                self._readers.pop(event.reader, None)
                if event.block_index is not None:
                    self._readers[event.reader] = event.block_index
            case Outranked():
                slots = slots_below(self._slots_alone, event.steps)
                self._free_count += slots - self._slots  # those that run go on to their end
                self._slots, self.steps_below = slots, event.steps
            case (
                SuperNodeLost()
                | SuperNodeBack()
                | SuperNodeFailed()
                | SourcePermitted()
                | SourceAnswered()
                | SourceEnded()
            ):
                return self._last_resort.take_in(event, now_s=now_s)
            case _:
                assert_never(event)
        return []

    def _on_edition_started(self, event: EditionStarted, now_s: float) -> list[Instruction]:
        if self._running:
            raise InvalidTransitionError(
                subject="download",
                state="fetching",
                event="EditionStarted",
                story=[str(each) for each in self._story],
            )
        self._is_started = True
        self.block_count = event.block_count
        self.held, self.listed = event.held.copy(), event.listed.copy()
        self._moved_s = now_s
        self._last_resort.moved(now_s=now_s)
        return []

    def _on_parent_lost(self, event: ParentLost) -> list[Instruction]:
        self.parents.lose(event.host_id)
        if event.host_id == SUPERNODE:
            self._put_off.clear()
        if event.loss is Loss.ENDED or event.host_id == SUPERNODE:
            return []
        return [Complain(host_id=event.host_id, block_index=0, reason=event.loss.value)]

    def _read_news(self) -> bool:
        """Take in what parents told, all at once; say whether it may be a reason to fetch."""
        is_reason = False
        wanted = self.listed.bits & ~(self.held.bits | self._running_bits)
        for news in self._unread:
            can_ask = self.parents.hold(
                news.host_id, news.blocks, load=news.load, claimed_bits=news.claimed.bits
            )
            is_reason |= can_ask and bool(news.blocks.bits & wanted)
        self._unread.clear()
        return is_reason

    def _asked_of(self, host_id: HostId) -> int | None:
        """Return the block that is being fetched from a parent, over whatever link."""
        for block_index, hosts in self._running.items():
            if host_id in hosts and host_id != SUPERNODE:
                return block_index
        return None

    def whole_parents(self) -> list[HostId]:
        """Return the linked parents that miss nothing, the SuperNode among them."""
        self._read_news()
        return self.parents.holding(self.held)

    def _on_block_granted(self, event: BlockGranted, now_s: float) -> list[Instruction]:
        block_index = event.block_index
        self.listed.add(block_index)  # a grant carries the digest
        if block_index in self.held or block_index in self._running:
            return [DeclineGrant(block_index=block_index)]
        if self._is_placed and self._is_patient(now_s):
            awaited = self.parents.awaited_bits(now_s=now_s)
            if awaited >> block_index & 1:
                return [DeclineGrant(block_index=block_index)]
        if self._is_kept_back():
            self._put_off.append(event)
            return []
        return [self._start(Pick(block_index, SUPERNODE), now_s), *self._claim()]

    def _is_kept_back(self) -> bool:
        """Whether one block of the SuperNode is enough, since others are more urgent."""
        is_outranked = self._slots < self._slots_alone
        return is_outranked and any(SUPERNODE in hosts for hosts in self._running.values())

    def _take_up(self, now_s: float) -> list[Instruction]:
        instructions: list[Instruction] = []
        while self._put_off and not self._is_kept_back():
            instructions += self._on_block_granted(self._put_off.popleft(), now_s)
        return instructions

    def _on_block_stored(self, event: BlockStored, now_s: float) -> list[Instruction]:
        if event.block_index in self.held:
            return []
        self.held.add(event.block_index)
        self._moved_s = now_s
        self._last_resort.moved(now_s=now_s)
        hosts = self._running.pop(event.block_index, {})
        self._running_bits &= ~(1 << event.block_index)
        instructions: list[Instruction] = [AnnounceBlock(block_index=event.block_index)]
        for host_id, since_s in hosts.items():
            self._end(host_id)
            if host_id == event.host_id:
                self._fetch_s += (now_s - since_s - self._fetch_s) / 8
                self.parents.praise(host_id)
            else:
                instructions.append(CancelFetch(block_index=event.block_index, host_id=host_id))
        return instructions

    def _on_fetch_failed(self, event: FetchFailed, now_s: float) -> list[Instruction]:
        hosts = self._running.get(event.block_index, {})
        if event.host_id not in hosts:
            return []  # it was cancelled meanwhile
        del hosts[event.host_id]
        if not hosts:
            del self._running[event.block_index]
            self._running_bits &= ~(1 << event.block_index)
        self.retry_count += event.failure is not Failure.BUSY
        if event.host_id == SUPERNODE:
            return [DeclineGrant(block_index=event.block_index)]
        self._end(event.host_id)
        self.parents.blame(
            event.host_id,
            event.failure,
            block_index=event.block_index,
            retry_after_s=event.retry_after_s,
            now_s=now_s,
        )
        if event.failure in (Failure.BUSY, Failure.MISSING):
            return []
        return [
            Complain(
                host_id=event.host_id, block_index=event.block_index, reason=event.failure.value
            )
        ]

    # --- what follows each event

    def _fill(self, now_s: float) -> list[Instruction]:
        """Return the fetches that the free slots allow."""
        instructions: list[Instruction] = []
        if self._free_count <= 0:
            return instructions
        missing = self.missing_bits & self.listed.bits
        window = missing.bit_length()  # all of it, unless somebody wants the order
        if self._readers:
            window = max(WINDOW_BLOCKS_MIN, (self.block_count or 0) // WINDOW_SHARE)
        while self._free_count > 0:
            wanted = missing & ~self._running_bits
            if not wanted and missing.bit_count() <= ENDGAME_BLOCKS:
                wanted = self._late_bits(now_s)
            if not wanted:
                break
            read = wanted & near_bits(self._readers.values()) if self._readers else 0
            chosen = self._pick(read, window, now_s) if read else None
            chosen = chosen or self._pick(wanted, window, now_s)
            if chosen is None:
                break
            instructions.append(self._start(chosen, now_s))
        if self.parents.rack.is_divided:
            instructions += self._claim()
        return instructions

    def _pick(self, wanted: int, window: int, now_s: float) -> Pick | None:
        """Return what to fetch next; in a rack, first what the rack does not have."""
        rack = self.parents.rack
        if not rack.is_divided or not self._is_patient(now_s):
            return self._pick_from(wanted, window, now_s, is_far=None)
        if self.parents.import_count() < rack.imports_max(self._slots - AHEAD):
            imported = wanted & ~self.parents.awaited_bits(now_s=now_s)
            imported = self._turns.ours(imported, self.parents.importers())
            chosen = self._pick_from(imported, window, now_s, is_far=True)
            if chosen is not None:
                return chosen
        return self._pick_from(wanted, window, now_s, is_far=False)

    def _pick_from(
        self, wanted: int, window: int, now_s: float, *, is_far: bool | None
    ) -> Pick | None:
        return pick(
            wanted,
            self.parents.candidates(now_s=now_s, is_far=is_far),
            rarity=self.parents.rarity,
            window_blocks=window,
            rng=self._rng,
        )

    def _is_patient(self, now_s: float) -> bool:
        return is_patient(quiet_s=now_s - self._moved_s, fetch_s=self._fetch_s)

    def _claim(self) -> list[Instruction]:
        """Tell what comes from outside of our rack, if that has become more."""
        if not self._is_placed:
            return []
        claimed = tuple(
            block_index
            for block_index, hosts in self._running.items()
            if any(host == SUPERNODE or self.parents.is_far(host) for host in hosts)
        )
        is_more = not set(claimed) <= self._claimed
        self._claimed = set(claimed)
        return [ClaimBlocks(block_indices=claimed)] if is_more else []

    def _start(self, chosen: Pick, now_s: float) -> FetchBlock:
        self._running.setdefault(chosen.block_index, {})[chosen.host_id] = now_s
        self._running_bits |= 1 << chosen.block_index
        if chosen.host_id != SUPERNODE:
            self._free_count -= 1
            self.parents.ask(chosen.host_id, chosen.block_index)
        return FetchBlock(block_index=chosen.block_index, host_id=chosen.host_id)

    def _end(self, host_id: HostId) -> None:
        """A fetch from a host has ended, one way or the other."""
        if host_id != SUPERNODE:
            self._free_count += 1
            self.parents.end(host_id)

    def _late_bits(self, now_s: float) -> int:
        """Return the running blocks of which a second copy should be asked for."""
        late = 0
        for block_index, hosts in self._running.items():
            patience_s = ENDGAME_PATIENCE * self._slots * self._fetch_s
            if len(hosts) < ENDGAME_COPIES_MAX and now_s - min(hosts.values()) > patience_s:
                late |= 1 << block_index
        return late

    def _conclude(self, now_s: float) -> list[Instruction]:
        is_complete = self._is_started and self.block_count is not None and not self.missing_bits
        if is_complete:
            return self._finish_if_sealed(now_s)
        instructions = self._report(now_s)
        more = self._last_resort.decide(self._outlook, is_busy=bool(self._running), now_s=now_s)
        if not more:
            return instructions
        self.is_finished = any(isinstance(each, Fail) for each in more)
        cancelled = self._cancel_all() if self.is_finished else []
        return [*instructions, *cancelled, *more]

    def _finish_if_sealed(self, now_s: float) -> list[Instruction]:
        if self._complete_s is None:
            self._complete_s = now_s
        is_waiting = self._last_resort.has_supernode and not self._is_sealed
        if is_waiting and now_s - self._complete_s < SEAL_WAIT_S:
            return []
        self.is_finished = True
        report = ReportProgress(held_count=len(self.held), is_hungry=False, is_whole=True)
        return [*self._cancel_all(), report, Finish()]

    def _cancel_all(self) -> list[Instruction]:
        return [
            CancelFetch(block_index=block_index, host_id=host_id)
            for block_index, hosts in self._running.items()
            for host_id in hosts
        ]

    def _report(self, now_s: float) -> list[Instruction]:
        is_due = now_s - self._reported_s >= REPORT_HUNGRY_S
        if not is_due or not self._is_started or not self._last_resort.has_supernode:
            return []
        is_hungry = self._is_hungry()
        if now_s - self._reported_s < (REPORT_HUNGRY_S if is_hungry else REPORT_S):
            return []
        self._reported_s = now_s
        report = ReportProgress(held_count=len(self.held), is_hungry=is_hungry, is_whole=False)
        return [report]

    def _is_hungry(self) -> bool:
        """Free slots, and blocks that could be had but for want of a parent."""
        unserved = self.missing_bits & self.listed.bits & ~self._running_bits
        return bool(unserved) and self._free_count > 0

    def _outlook(self) -> Outlook:
        wanted = self.missing_bits & ~self._running_bits
        first, stop = len(self.held), None
        if not self._is_started:
            first = 0
        elif self.block_count is not None:
            first, stop = some_run(wanted, self._rng)
        return Outlook(
            missing_count=max(self.missing_bits.bit_count(), 1),
            first_missing=first,
            stop_missing=stop,
        )
