"""Guards how downloads of one host share its link: more for the urgent ones, something for all."""

import random

import pytest

from damselfly.core.blocks import BlockSet
from damselfly.core.downloading.download import Download
from damselfly.core.downloading.events import (
    BlockGranted,
    BlockStored,
    EditionStarted,
    Outranked,
    ParentLinked,
    ParentLost,
)
from damselfly.core.downloading.instructions import DeclineGrant, FetchBlock, Instruction
from damselfly.core.downloading.sharing import Priority, highest, slots_below, steps_below
from damselfly.core.peer import SUPERNODE, HostId

LOW, NORMAL, HIGH = Priority


@pytest.mark.parametrize(
    ("priority", "others", "steps"),
    [
        (NORMAL, [], 0),
        (NORMAL, [NORMAL, LOW], 0),
        (LOW, [LOW, NORMAL], 1),
        (LOW, [HIGH, LOW], 2),
        (HIGH, [LOW], -2),
    ],
)
def test_steps_are_counted_to_the_most_urgent(
    priority: Priority, others: list[Priority], steps: int
) -> None:
    assert steps_below(priority, others) == steps


def test_download_is_as_urgent_as_the_most_urgent_who_waits_for_it() -> None:
    assert highest([LOW, HIGH, NORMAL]) is HIGH


def test_each_step_leaves_a_quarter_and_at_least_one_slot() -> None:
    assert [slots_below(8, steps) for steps in (-1, 0, 1, 2, 3)] == [8, 8, 2, 1, 1]


ANN, BOB, CID, DAN = (HostId(name) for name in ("ann", "bob", "cid", "dan"))


def a_download(*parents: HostId, blocks: int = 20, slots: int = 2) -> Download:
    download = Download(
        slots=slots, can_use_source=True, host_id=HostId("me"), rng=random.Random(1), now_s=0.0
    )
    whole = BlockSet.full(blocks)
    download.handle(EditionStarted(block_count=blocks, held=BlockSet(), listed=whole), now_s=0.0)
    for host_id in parents:
        download.handle(ParentLinked(host_id=host_id, held=whole), now_s=0.0)
    return download


def fetched(instructions: list[Instruction]) -> list[tuple[int, HostId]]:
    return [
        (each.block_index, each.host_id) for each in instructions if isinstance(each, FetchBlock)
    ]


def test_outranked_download_ends_what_runs_and_goes_on_with_fewer() -> None:
    download = a_download(ANN, BOB, CID, DAN)  # two slots, and two requests ahead
    running = [(index, host) for index, hosts in download._running.items() for host in hosts]
    download.handle(Outranked(steps=1), now_s=0.0)

    begun = [
        len(fetched(download.handle(BlockStored(block_index=index, host_id=host), now_s=1.0)))
        for index, host in running
    ]

    assert begun == [0, 0, 0, 1]
    assert len(fetched(download.handle(Outranked(steps=0), now_s=1.0))) == 3
    download.check()


def test_outranked_download_takes_one_block_of_the_supernode_at_a_time() -> None:
    download = a_download()
    download.handle(Outranked(steps=1), now_s=0.0)

    at_once = [fetched(download.handle(BlockGranted(block_index=i), now_s=0.0)) for i in range(3)]
    stored = BlockStored(block_index=0, host_id=SUPERNODE)
    next_one = fetched(download.handle(stored, now_s=1.0))
    rest = fetched(download.handle(Outranked(steps=0), now_s=1.0))

    assert at_once == [[(0, SUPERNODE)], [], []]
    assert next_one == [(1, SUPERNODE)]
    assert rest == [(2, SUPERNODE)]


def test_grants_that_were_put_off_are_void_with_the_link() -> None:
    download = a_download()
    download.handle(Outranked(steps=1), now_s=0.0)
    for index in range(2):
        download.handle(BlockGranted(block_index=index), now_s=0.0)
    download.handle(ParentLost(host_id=SUPERNODE), now_s=0.0)

    assert fetched(download.handle(Outranked(steps=0), now_s=0.0)) == []


def test_grant_that_came_from_elsewhere_meanwhile_is_declined() -> None:
    download = a_download()
    download.handle(Outranked(steps=1), now_s=0.0)
    for index in range(2):
        download.handle(BlockGranted(block_index=index), now_s=0.0)
    download.handle(BlockStored(block_index=1, host_id=None), now_s=0.0)

    assert DeclineGrant(block_index=1) in download.handle(Outranked(steps=0), now_s=0.0)
