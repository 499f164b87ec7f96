"""Guards super-seeding: none twice while another has not gone out, slots kept, nothing lost."""

from hypothesis import given, strategies as st

from damselfly.core.blocks import BlockSet
from damselfly.core.peer import HostId
from damselfly.core.scheduling.seeding import CHILD_GRANTS_MAX, REPEAT_AFTER_S, Grant, SeedPlan

ANN, BOB, CID = HostId("ann"), HostId("bob"), HostId("cid")


def a_plan(*, slots: int = 2, blocks: int = 0, children: tuple[HostId, ...] = ()) -> SeedPlan:
    plan = SeedPlan(slots=slots)
    for child in children:
        plan.link(child, BlockSet(), now_s=0.0)
    for index in range(blocks):
        plan.seed(index, now_s=0.0)
    return plan


def test_each_block_goes_out_once_in_file_order_to_different_children() -> None:
    plan = a_plan(slots=2, children=(ANN, BOB))

    grants = plan.seed(0, now_s=0.0) + plan.seed(1, now_s=0.0) + plan.seed(2, now_s=0.0)
    grants += plan.end(ANN, 0, now_s=0.0)

    assert grants == [Grant(ANN, 0), Grant(BOB, 1), Grant(ANN, 2)]


def test_block_is_repeated_only_after_a_pause() -> None:
    plan = a_plan(slots=2, blocks=1, children=(ANN, BOB))
    plan.end(ANN, 0, now_s=0.0)

    early = plan.next(now_s=REPEAT_AFTER_S / 2)
    due_s = plan.due_s()
    late = plan.next(now_s=REPEAT_AFTER_S)

    assert (early, due_s, late) == ([], REPEAT_AFTER_S, [Grant(BOB, 0)])


def test_slots_open_one_by_one_as_blocks_have_been_sent() -> None:
    plan = a_plan(slots=4, blocks=8)

    at_first = plan.link(ANN, BlockSet(), now_s=0.0)
    next_ones = [plan.end(ANN, index, now_s=0.0) for index in range(3)]

    assert at_first == [Grant(ANN, 0), Grant(ANN, 1)]
    assert next_ones == [
        [Grant(ANN, 2), Grant(ANN, 3)],
        [Grant(ANN, 4), Grant(ANN, 5)],
        [Grant(ANN, 6)],
    ]


def test_single_child_gets_all_slots() -> None:
    plan = a_plan(slots=4, blocks=8, children=(ANN,))

    for index in range(2):
        plan.end(ANN, index, now_s=0.0)

    assert plan.running_count == 4


def test_block_that_another_child_got_meanwhile_may_be_declined() -> None:
    plan = a_plan(slots=1, blocks=1, children=(ANN, BOB))
    plan.hold(BOB, [0], now_s=0.0)

    plan.decline(ANN, 0, now_s=0.0)

    plan.check()
    assert plan.next(now_s=REPEAT_AFTER_S) == [Grant(ANN, 0)]


def test_block_that_was_declined_opens_no_slot() -> None:
    plan = a_plan(slots=4, blocks=8, children=(ANN,))

    grants = plan.decline(ANN, 0, now_s=0.0)

    assert grants == [Grant(ANN, 2)]


def test_block_that_a_child_got_elsewhere_counts_as_gone_out() -> None:
    plan = a_plan(slots=1, blocks=2)

    grants = plan.link(ANN, BlockSet.of([0]), now_s=0.0)

    assert grants == [Grant(ANN, 1)]


def test_block_on_its_way_to_a_lost_child_goes_to_another_one() -> None:
    plan = a_plan(slots=1, blocks=1, children=(ANN, BOB))

    grants = plan.unlink(ANN, now_s=0.0)

    assert grants == [Grant(BOB, 0)]


def test_declined_block_goes_to_another_child_and_later_again_to_the_first() -> None:
    plan = a_plan(slots=1, blocks=1, children=(ANN,))

    at_once = plan.decline(ANN, 0, now_s=0.0)
    later = plan.next(now_s=REPEAT_AFTER_S)

    assert (at_once, later) == ([], [Grant(ANN, 0)])


@st.composite
def stories(draw: st.DrawFn) -> list[tuple[str, HostId, int]]:
    verbs = st.sampled_from(["seed", "link", "unlink", "hold", "end", "decline", "wait"])
    child = st.sampled_from([ANN, BOB, CID])
    return draw(st.lists(st.tuples(verbs, child, st.integers(0, 7)), max_size=80))


def play(plan: SeedPlan, verb: str, child: HostId, block: int, now_s: float) -> list[Grant]:
    match verb:
        case "seed":
            return plan.seed(block, now_s=now_s)
        case "link":
            return plan.link(child, BlockSet.of([block]), now_s=now_s)
        case "unlink":
            return plan.unlink(child, now_s=now_s)
        case "hold":
            return plan.hold(child, [block], now_s=now_s)
        case "end":
            return plan.end(child, block, now_s=now_s)
        case "decline":
            return plan.decline(child, block, now_s=now_s)
        case _:
            return plan.next(now_s=now_s)


@given(stories())
def test_none_goes_out_twice_while_another_has_not_gone_out(
    story: list[tuple[str, HostId, int]],
) -> None:
    plan = a_plan(slots=3)

    for step, (verb, child, block) in enumerate(story):
        grants = play(plan, verb, child, block, step * REPEAT_AFTER_S / 3)

        plan.check()
        for grant in grants:
            assert grant.block_index in plan.seeded
            if plan.sent_count(grant.block_index) > 1:
                gone_out = {index for index in plan.seeded if plan.sent_count(index)}
                assert gone_out == set(plan.seeded)


@given(st.integers(1, 20), st.integers(1, 6), st.integers(1, 4))
def test_children_without_links_among_each_other_all_get_everything(
    blocks: int, slots: int, count: int
) -> None:
    children = tuple(HostId(f"child-{i}") for i in range(count))
    plan = a_plan(slots=slots, blocks=blocks, children=children)
    got: dict[HostId, set[int]] = {child: set() for child in children}
    running = [Grant(child, index) for child in children for index in plan._children[child].running]
    now_s = 0.0

    while running:
        grant = running.pop(0)
        got[grant.host_id].add(grant.block_index)
        running += plan.end(grant.host_id, grant.block_index, now_s=now_s)
        if not running:
            now_s += REPEAT_AFTER_S
            running += plan.next(now_s=now_s)

    assert got == {child: set(range(blocks)) for child in children}


def test_child_that_says_no_when_the_block_is_no_longer_on_its_way_keeps_what_was_counted() -> None:
    plan = a_plan(slots=1, blocks=1, children=(ANN,))
    plan.end(ANN, 0, now_s=0.0)

    plan.decline(ANN, 0, now_s=0.0)
    plan.decline(ANN, 5, now_s=0.0)

    assert plan.sent_count(0) == 1


def test_declined_block_of_a_child_that_left_is_forgotten() -> None:
    plan = a_plan(slots=1, blocks=1, children=(ANN,))
    plan.decline(ANN, 0, now_s=0.0)
    plan.unlink(ANN, now_s=0.0)

    grants = plan.link(BOB, BlockSet(), now_s=REPEAT_AFTER_S)

    assert grants == [Grant(BOB, 0)]


def test_block_taken_back_was_sent_once_less() -> None:
    plan = a_plan(slots=2, blocks=1, children=(ANN, BOB))
    plan.end(ANN, 0, now_s=0.0)
    plan.next(now_s=REPEAT_AFTER_S)
    before = plan.sent_count(0)
    plan.check()

    plan.seed(1, now_s=REPEAT_AFTER_S)
    plan.unlink(BOB, now_s=REPEAT_AFTER_S)

    plan.check()
    assert (before, plan.sent_count(0)) == (2, 1)


def test_nobody_gets_a_second_copy_while_a_block_has_not_gone_out() -> None:
    """Bob had block 1; ann did not take block 0, so it has not gone out, and lacks block 1."""
    plan = a_plan(slots=1, blocks=1, children=(ANN,))
    plan.link(BOB, BlockSet.of([1]), now_s=0.0)
    plan.unlink(BOB, now_s=0.0)
    plan.seed(1, now_s=0.0)

    grants = plan.decline(ANN, 0, now_s=0.0)

    assert grants == []
    assert plan.next(now_s=REPEAT_AFTER_S) == [Grant(ANN, 0)]


def test_block_that_was_in_the_swarm_before_it_was_granted_stays_counted_once() -> None:
    plan = a_plan(slots=1, blocks=1, children=(ANN, BOB))

    plan.hold(BOB, [0], now_s=0.0)
    plan.unlink(ANN, now_s=0.0)

    assert plan.sent_count(0) == 0


def test_child_that_is_not_linked_is_given_nothing_and_harms_nothing() -> None:
    plan = a_plan(slots=1, blocks=1)

    grants = [
        *plan.hold(ANN, [0], now_s=0.0),
        *plan.end(ANN, 0, now_s=0.0),
        *plan.decline(ANN, 0, now_s=0.0),
        *plan.unlink(ANN, now_s=0.0),
    ]

    assert grants == []
    assert plan.sent_count(0) == 0


def test_slot_stays_free_rather_than_giving_one_child_too_much() -> None:
    plan = a_plan(slots=CHILD_GRANTS_MAX + 2, blocks=20, children=(ANN,))

    for index in range(CHILD_GRANTS_MAX + 2):
        plan.end(ANN, index, now_s=0.0)

    assert plan.running_count == CHILD_GRANTS_MAX


def test_rack_gets_each_block_once_whichever_of_its_hosts_takes_it() -> None:
    plan = SeedPlan(slots=8)
    for child in (ANN, BOB):
        plan.link(child, BlockSet(), rack="dc/r1", now_s=0.0)
    plan.link(CID, BlockSet(), rack="dc/r2", now_s=0.0)

    grants = [*plan.seed(0, now_s=0.0), *plan.next(now_s=REPEAT_AFTER_S)]
    grants += plan.next(now_s=9 * REPEAT_AFTER_S)

    assert [grant.block_index for grant in grants] == [0, 0]
    assert {grant.host_id for grant in grants} == {ANN, CID}


def test_next_block_goes_to_the_child_that_passed_its_last_one_on() -> None:
    """Ann holds less, but nobody got block 0 from her yet; bob's block 1 is at ann already."""
    plan = a_plan(slots=2, blocks=2, children=(ANN, BOB))
    plan.end(ANN, 0, now_s=0.0)
    plan.end(BOB, 1, now_s=0.0)
    plan.hold(BOB, [1, 7], now_s=0.0)
    plan.hold(ANN, [1], now_s=0.0)

    grants = plan.seed(2, now_s=0.0)

    assert grants == [Grant(BOB, 2)]


def test_child_that_declined_its_block_or_came_again_has_none_to_pass_on() -> None:
    plan = a_plan(slots=3, blocks=2, children=(ANN, BOB))
    plan.decline(ANN, 0, now_s=0.0)
    plan.end(BOB, 1, now_s=0.0)
    plan.link(BOB, BlockSet(), now_s=0.0)
    plan.check()

    plan.hold(ANN, [1], now_s=0.0)

    plan.check()
    assert plan.seed(2, now_s=0.0)[0] == Grant(BOB, 2)
