"""Guards the mind of a download: it always ends, keeps its slots, and blames the right ones.

The swarms here are imagined: several `Download` objects, a holder of everything, and an order
of events that Hypothesis draws. `tests/stories` has the readable part.
"""

import random

import pytest
from hypothesis import given, strategies as st

from damselfly.core.blocks import BlockSet
from damselfly.core.downloading.download import Download
from damselfly.core.downloading.events import (
    BlockGranted,
    BlocksListed,
    BlockStored,
    EditionStarted,
    Event,
    Failure,
    FetchFailed,
    ParentHeld,
    ParentLinked,
    ParentLost,
    Sealed,
    SuperNodeBack,
    SuperNodeLost,
    Ticked,
)
from damselfly.core.downloading.instructions import (
    AnnounceBlock,
    Complain,
    DeclineGrant,
    Fail,
    FetchBlock,
    FetchFromSource,
    Finish,
    Instruction,
)
from damselfly.core.downloading.picking import Rarity, lot, window_bits
from damselfly.core.peer import HostId
from damselfly.errors import InvalidTransitionError

HOLDER = HostId("holder")
STEPS_MAX = 5000


def a_download(*, slots: int = 4, seed: int = 1, can_use_source: bool = True) -> Download:
    return Download(
        slots=slots,
        can_use_source=can_use_source,
        host_id=HostId("me"),
        rng=random.Random(seed),
        now_s=0.0,
    )


def started(count: int, held: BlockSet | None = None) -> EditionStarted:
    return EditionStarted(block_count=count, held=held or BlockSet(), listed=BlockSet.full(count))


class World:
    """Peers that are all linked with each other and with one honest holder."""

    def __init__(self, peers: int, blocks: int, rng: random.Random, trouble: float) -> None:
        self.rng, self.trouble, self.blocks = rng, trouble, blocks
        self.now_s = 0.0
        self.names = [HostId(f"peer-{i}") for i in range(peers)]
        self.minds = {name: a_download(seed=rng.randrange(1 << 30)) for name in self.names}
        self.fetches: list[tuple[HostId, FetchBlock]] = []
        self.finished: set[HostId] = set()
        self.complaints: list[Complain] = []
        for name in self.names:
            self.tell(name, started(blocks))
            self.tell(name, Sealed(block_count=blocks))
        for name in self.names:
            self.tell(name, ParentLinked(host_id=HOLDER, held=BlockSet.full(blocks)))
            for other in self.names:
                if other != name:
                    held = self.minds[other].held
                    self.tell(name, ParentLinked(host_id=other, held=held))

    def tell(self, name: HostId, event: Event) -> None:
        mind = self.minds[name]
        for instruction in mind.handle(event, now_s=self.now_s):
            self.carry_out(name, instruction)
        mind.check()

    def carry_out(self, name: HostId, instruction: Instruction) -> None:
        match instruction:
            case FetchBlock():
                self.fetches.append((name, instruction))
            case AnnounceBlock():
                news = BlockSet.of([instruction.block_index])
                for other in self.names:
                    if other != name:
                        self.tell(other, ParentHeld(host_id=name, blocks=news))
            case Finish():
                self.finished.add(name)
            case Complain():
                self.complaints.append(instruction)
            case Fail() | FetchFromSource():
                pytest.fail(f"{name} gave up: {instruction}")
            case _:
                pass

    def step(self) -> None:
        self.now_s += 0.05
        if not self.fetches:
            for name in self.names:
                self.tell(name, Ticked())
            return
        name, fetch = self.fetches.pop(self.rng.randrange(len(self.fetches)))
        index, parent = fetch.block_index, fetch.host_id
        if self.rng.random() < self.trouble:
            failure = self.rng.choice(list(Failure))
            if parent == HOLDER:
                failure = Failure.BUSY  # it is honest
            if parent != HOLDER and failure is Failure.MISSING:
                failure = Failure.STALLED
            self.tell(name, FetchFailed(block_index=index, host_id=parent, failure=failure))
        else:
            self.tell(name, BlockStored(block_index=index, host_id=parent))


@given(st.integers(1, 5), st.integers(1, 40), st.randoms(use_true_random=False), st.floats(0, 0.5))
def test_swarm_with_one_honest_holder_always_finishes(
    peers: int, blocks: int, rng: random.Random, trouble: float
) -> None:
    world = World(peers, blocks, rng, trouble)

    for _ in range(STEPS_MAX):
        if len(world.finished) == peers:
            break
        world.step()

    assert world.finished == set(world.names)
    assert all(len(mind.held) == blocks for mind in world.minds.values())
    assert all(complaint.host_id != HOLDER for complaint in world.complaints)


def test_resumed_download_asks_only_for_what_is_missing() -> None:
    download = a_download()
    download.handle(started(4, BlockSet.of([0, 2])), now_s=0.0)

    instructions = download.handle(ParentLinked(host_id=HOLDER, held=BlockSet.full(4)), now_s=0.0)

    asked = [each.block_index for each in instructions if isinstance(each, FetchBlock)]
    assert len(asked) == 1
    assert set(asked) <= {1, 3}


def test_block_without_known_digest_is_not_asked_for() -> None:
    download = a_download()
    download.handle(EditionStarted(block_count=2, held=BlockSet(), listed=BlockSet()), now_s=0.0)
    linked = ParentLinked(host_id=HOLDER, held=BlockSet.full(2))

    before = download.handle(linked, now_s=0.0)
    after = download.handle(BlocksListed(blocks=BlockSet.of([1])), now_s=0.0)

    assert before == []
    assert after == [FetchBlock(block_index=1, host_id=HOLDER)]


def test_content_of_unknown_length_is_whole_only_when_sealed() -> None:
    download = a_download()
    download.handle(
        EditionStarted(block_count=None, held=BlockSet(), listed=BlockSet.full(2)), now_s=0.0
    )

    early = [
        each
        for index in (0, 1)
        for each in download.handle(BlockStored(block_index=index, host_id=None), now_s=0.0)
    ]
    late = download.handle(Sealed(block_count=2), now_s=0.0)

    assert Finish() not in early
    assert Finish() in late


def test_empty_content_is_finished_at_once() -> None:
    download = a_download()
    download.handle(started(0), now_s=0.0)

    instructions = download.handle(Sealed(block_count=0), now_s=0.0)

    assert Finish() in instructions


def test_finished_download_declines_what_is_still_granted() -> None:
    download = a_download()
    download.handle(started(0), now_s=0.0)
    download.handle(Sealed(block_count=0), now_s=0.0)

    assert download.handle(BlockGranted(block_index=0), now_s=0.0) == [DeclineGrant(block_index=0)]
    assert download.handle(Ticked(), now_s=99.0) == []


def test_supernode_that_comes_back_gets_its_chance_before_the_source() -> None:
    download = a_download()
    download.handle(started(2), now_s=0.0)
    download.handle(SuperNodeLost(), now_s=0.0)
    download.handle(SuperNodeBack(), now_s=4.0)

    instructions = download.handle(Ticked(), now_s=6.0)

    assert not any(isinstance(each, FetchFromSource) for each in instructions)


def test_parent_that_is_lost_midway_is_replaced() -> None:
    download = a_download(slots=1)
    download.handle(started(1), now_s=0.0)
    (first,) = download.handle(
        ParentLinked(host_id=HostId("ann"), held=BlockSet.full(1)), now_s=0.0
    )
    assert isinstance(first, FetchBlock)
    download.handle(ParentLinked(host_id=HostId("bob"), held=BlockSet.full(1)), now_s=0.0)
    download.handle(ParentLost(host_id=HostId("ann")), now_s=0.0)

    instructions = download.handle(
        FetchFailed(block_index=0, host_id=HostId("ann"), failure=Failure.UNREACHABLE), now_s=1.0
    )

    assert FetchBlock(block_index=0, host_id=HostId("bob")) in instructions


def test_second_edition_in_the_midst_of_fetches_is_our_own_bug() -> None:
    download = a_download()
    download.handle(started(2), now_s=0.0)
    download.handle(ParentLinked(host_id=HOLDER, held=BlockSet.full(2)), now_s=0.0)

    with pytest.raises(InvalidTransitionError):
        download.handle(started(2), now_s=0.0)


@given(
    st.integers(1, 1 << 40),
    st.lists(st.integers(0, 1 << 40), max_size=20),
    st.lists(st.integers(0, 1 << 40), max_size=20),
)
def test_rarest_are_those_that_the_fewest_hold(
    bits: int, holders: list[int], gone: list[int]
) -> None:
    rarity = Rarity()
    for held in holders + gone:
        rarity.add(held)
    for held in gone:
        rarity.remove(held)

    chosen = rarity.rarest(bits)

    counts = {
        index: sum(held >> index & 1 for held in holders)
        for index in range(bits.bit_length())
        if bits >> index & 1
    }
    fewest = min(counts.values())
    assert chosen == sum(1 << index for index, count in counts.items() if count == fewest)


@given(st.integers(1, 1 << 60), st.randoms(use_true_random=False))
def test_lot_falls_on_a_set_bit(bits: int, rng: random.Random) -> None:
    assert bits >> lot(bits, rng) & 1


@given(st.integers(1, 1 << 60), st.integers(1, 1 << 60), st.integers(1, 20))
def test_window_holds_the_first_offered_block(wanted: int, offered: int, window: int) -> None:
    offered = offered & wanted or wanted

    bits = window_bits(wanted, offered, window)

    assert bits & offered & -offered
    assert bits.bit_count() == window


def test_whole_parents_are_those_that_hold_all_that_we_hold() -> None:
    download = a_download()
    download.handle(started(2, held=BlockSet.full(2)), now_s=0.0)
    names = [HostId(name) for name in ("ann", "bob")]
    download.handle(ParentLinked(host_id=names[0], held=BlockSet.full(2)), now_s=0.0)
    download.handle(ParentLinked(host_id=names[1], held=BlockSet.of([0])), now_s=0.0)

    assert download.whole_parents() == [names[0]]
    assert len(download.parents) == 2


def test_one_of_two_copies_that_fails_leaves_the_other_one_running() -> None:
    """In the endgame a block is asked for twice."""
    download = a_download()
    download.handle(started(1), now_s=0.0)
    names = [HostId(name) for name in ("ann", "bob")]
    for name in names:
        download.handle(ParentLinked(host_id=name, held=BlockSet.full(1)), now_s=0.0)
    [second] = [
        each for each in download.handle(Ticked(), now_s=9.0) if isinstance(each, FetchBlock)
    ]

    failed = FetchFailed(block_index=0, host_id=second.host_id, failure=Failure.STALLED)
    download.handle(failed, now_s=9.1)
    download.check()
    download.handle(BlockStored(block_index=0, host_id=names[0]), now_s=9.2)

    assert download.retry_count == 1
    assert len(download.held) == 1


def test_less_loaded_of_two_parents_is_asked_more_often() -> None:
    chosen = []
    for seed in range(60):
        download = a_download(slots=1, seed=seed)
        for name, load in (("busy", 9), ("idle", 0)):
            parent = ParentLinked(host_id=HostId(name), held=BlockSet.full(4), load=load)
            download.handle(parent, now_s=0.0)
        instructions = download.handle(started(4), now_s=0.0)
        first = next(each for each in instructions if isinstance(each, FetchBlock))
        chosen.append(first.host_id)

    assert chosen.count(HostId("idle")) > 2 * chosen.count(HostId("busy")) > 0


def test_no_more_is_asked_for_than_there_are_slots() -> None:
    download = a_download(slots=1)
    download.handle(started(20), now_s=0.0)
    asked = []

    for number in range(12):
        parent = ParentLinked(host_id=HostId(f"parent-{number}"), held=BlockSet.full(20))
        told = download.handle(parent, now_s=0.0)
        download.check()
        asked.append(sum(isinstance(each, FetchBlock) for each in told))

    assert asked[0] == 1
    assert asked[-1] == 0
    assert sum(asked) < len(asked)


def test_news_that_come_while_nothing_can_be_fetched_count_as_soon_as_something_can() -> None:
    download = a_download(slots=1)  # and two requests ahead
    download.handle(started(4), now_s=0.0)
    names = [HostId(name) for name in ("ann", "bob", "cid", "dan")]
    for index, name in enumerate(names):
        held = BlockSet.of([index] if index < 3 else [])
        download.handle(ParentLinked(host_id=name, held=held), now_s=0.0)

    news = ParentHeld(host_id=names[3], blocks=BlockSet.of([3]))
    assert download.handle(news, now_s=0.1) == []  # all are busy
    stored = download.handle(BlockStored(block_index=0, host_id=names[0]), now_s=0.2)

    assert FetchBlock(block_index=3, host_id=names[3]) in stored
