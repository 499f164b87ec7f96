"""Guards when the SuperNode compresses, which blocks, and how."""

import pytest
from hypothesis import given, strategies as st

from damselfly.core.blocks import BLOCK_BYTES_MAX
from damselfly.core.compressing.choosing import Choosing, Way
from damselfly.core.compressing.link_rate import BIN_S, BINS_MAX, RATE_MIN, LinkRate
from damselfly.core.compressing.load import Load, LoadGate
from damselfly.core.compressing.sampling import (
    PIECE_BYTES_MIN,
    SHARE,
    is_compressed_already,
    sample_spans,
)

LIMITS = Load(cpu_share=0.9, run_queue=4.0, encode_queue=8)
SLOW_LINK, FAST_LINK = 12.5e6, 1.25e9


def a_load(*, cpu_share: float = 0.1, run_queue: float = 0.5, encode_queue: int = 1) -> Load:
    return Load(cpu_share=cpu_share, run_queue=run_queue, encode_queue=encode_queue)


def choosing(*, threads: int = 1, gain_min: float = 0.1, cpus: int = 2) -> Choosing:
    return Choosing({1: 4, 2: 4}, gain_min=gain_min, threads=threads, cpus=cpus)


# --- the load


@pytest.mark.parametrize(
    ("load", "reason"),
    [
        (a_load(cpu_share=0.95), "cpu"),
        (a_load(run_queue=4.5), "run_queue"),
        (a_load(encode_queue=9), "encode_queue"),
    ],
)
def test_each_measure_above_its_limit_closes_the_gate(load: Load, reason: str) -> None:
    gate = LoadGate(LIMITS)
    assert gate.look(a_load())

    assert not gate.look(load)
    assert gate.reason == reason
    assert gate.look(a_load())
    assert gate.reason == ""


def test_a_load_between_the_limits_changes_nothing() -> None:
    gate = LoadGate(LIMITS)
    between = a_load(cpu_share=0.8)

    assert gate.look(between)
    gate.look(a_load(cpu_share=0.91))
    assert not gate.look(between)
    assert gate.look(a_load(cpu_share=0.6))


# --- the sample


@given(st.integers(1, BLOCK_BYTES_MAX))
def test_a_sample_lies_in_its_block_and_is_small(block_bytes: int) -> None:
    spans = sample_spans(block_bytes)

    assert all(span.stop_byte <= block_bytes for span in spans)
    assert all(span.start_byte % 4 == 0 for span in spans)
    assert sum(map(len, spans)) <= max(3 * PIECE_BYTES_MIN, block_bytes // SHARE)


@pytest.mark.parametrize(
    "head",
    [
        b"\x1f\x8b\x08\x00",
        b"\x28\xb5\x2f\xfd\x00",
        b"\xff\xd8\xff\xe0",
        b"PK\x03\x04..",
        b"\0\0\0\x20ftypisom",
        b"RIFF....WEBPVP8 ",
    ],
)
def test_what_is_compressed_already_is_known_by_its_first_bytes(head: bytes) -> None:
    assert is_compressed_already(head)


@pytest.mark.parametrize("head", [b"", b"\x7fELF", b'{"a": 1}', b"etc/passwd\0\0"])
def test_what_is_not_is_tried(head: bytes) -> None:
    assert not is_compressed_already(head)


# --- the way


def test_what_gains_too_little_stays_as_it_is() -> None:
    assert choosing().choose({1: 0.95, 2: 1.0}, rate_bytes_per_s=SLOW_LINK) is None
    assert choosing().choose({}, rate_bytes_per_s=SLOW_LINK) is None
    assert choosing().choose({9: 0.1}, rate_bytes_per_s=SLOW_LINK) is None


def test_the_codec_that_makes_the_block_shortest_is_chosen() -> None:
    way = choosing().choose({1: 0.8, 2: 0.6}, rate_bytes_per_s=SLOW_LINK)

    assert way is not None
    assert way.codec == 2


def test_a_codec_that_was_lucky_with_its_few_blocks_is_not_taken_for_all() -> None:
    """37 of 62 blocks of libraries got byte planes, which make them longer than plain zstd does."""
    mind = choosing()
    for _ in range(20):
        mind.note(Way(1, 0), promised=0.4, size=0.5, bytes_per_s=300e6)
        mind.note(Way(2, 0), promised=0.7, size=0.5, bytes_per_s=300e6)

    way = mind.choose({1: 0.5, 2: 0.6}, rate_bytes_per_s=SLOW_LINK)

    assert way is not None
    assert way.codec == 1


def test_a_codec_without_a_way_that_keeps_up_leaves_the_block_to_another() -> None:
    mind = choosing()
    for place in range(4):
        mind.note(Way(2, place), promised=0.5, size=0.5, bytes_per_s=1e6)

    assert mind.choose({1: 0.6, 2: 0.5}, rate_bytes_per_s=SLOW_LINK) == Way(1, 0)
    mind.forget(1)
    assert mind.choose({1: 0.6, 2: 0.5}, rate_bytes_per_s=SLOW_LINK) is None


def settled(rate: float, *, factors: tuple[float, ...], threads: int = 1) -> Way | None:
    """Return what is chosen once levels were tried that make blocks so much shorter."""
    mind = choosing(threads=threads)
    speeds = (350e6, 200e6, 70e6, 40e6)
    way = None
    for _ in range(20):
        way = mind.choose({1: 0.5}, rate_bytes_per_s=rate)
        if way is not None:
            size = 0.5 * factors[way.place]
            mind.note(way, promised=0.5, size=size, bytes_per_s=speeds[way.place])
    return way


def test_levels_are_tried_one_after_the_other() -> None:
    mind = choosing()
    places = []
    for _ in range(4):
        way = mind.choose({1: 0.5}, rate_bytes_per_s=SLOW_LINK)
        assert way is not None
        places.append(way.place)
        mind.note(way, promised=0.5, size=0.5 - 0.05 * way.place, bytes_per_s=100e6)

    assert places == [0, 1, 2, 3]


def test_a_fast_link_gets_no_slow_encoder() -> None:
    gaining = (1.0, 0.9, 0.8, 0.7)

    assert settled(SLOW_LINK, factors=gaining) == Way(1, 3)
    assert settled(125e6, factors=gaining) == Way(1, 1)
    assert settled(200e6, factors=gaining) == Way(1, 0)
    assert settled(FAST_LINK, factors=gaining) is None
    assert settled(FAST_LINK, factors=gaining, threads=16) is not None


def test_while_cpus_are_busy_a_way_must_cost_next_to_nothing_of_them() -> None:
    def chosen(rate: float, *, cpus: int = 2) -> Way | None:
        mind = choosing(cpus=cpus)
        return mind.choose({1: 0.5}, rate_bytes_per_s=rate, is_busy=True)

    assert chosen(SLOW_LINK) == Way(1, 0)  # 4 % of one of two
    assert chosen(45e6) is None  # 13 % of one of two: what eight hosts on two cores take
    assert chosen(125e6) is None
    assert chosen(125e6, cpus=16) == Way(1, 0)


def test_an_encoder_that_is_slower_than_assumed_is_used_no_more() -> None:
    mind = choosing()
    way = mind.choose({1: 0.5}, rate_bytes_per_s=125e6)
    assert way == Way(1, 0)

    mind.note(way, promised=0.5, size=0.5, bytes_per_s=100e6)
    mind.note(Way(1, 1), promised=0.5, size=0.5, bytes_per_s=50e6)

    assert mind.choose({1: 0.5}, rate_bytes_per_s=125e6) is None


def test_a_level_that_gains_nothing_more_is_left_for_a_cheaper_one() -> None:
    assert settled(SLOW_LINK, factors=(1.0, 1.0, 0.5, 0.5)) == Way(1, 0)
    assert settled(SLOW_LINK, factors=(1.0, 0.9, 0.9, 0.9)) == Way(1, 1)


def test_a_sample_that_promises_too_much_is_learned() -> None:
    mind = choosing()
    way = Way(1, 0)
    for place in range(4):
        mind.note(Way(1, place), promised=0.5, size=0.98, bytes_per_s=300e6)

    assert mind.choose({1: 0.5}, rate_bytes_per_s=SLOW_LINK) is None
    mind.note(way, promised=0.5, size=0.1, bytes_per_s=300e6)
    assert mind.choose({1: 0.3}, rate_bytes_per_s=SLOW_LINK) is not None


def test_a_codec_that_failed_is_not_chosen_again() -> None:
    mind = choosing()
    mind.forget(2)
    mind.forget(2)

    way = mind.choose({1: 0.8, 2: 0.6}, rate_bytes_per_s=SLOW_LINK)

    assert way is not None
    assert way.codec == 1


# --- the link


def a_link(*, told: float = 0.0) -> LinkRate:
    return LinkRate(assumed_bytes_per_s=125e6, told_bytes_per_s=told)


def send(
    link: LinkRate, rate: float, *, bins: int, first: int = 0, cpu_share: float | None = 0.3
) -> None:
    """Have one upload after the other go at a rate for so many bins."""
    for number in range(first, first + bins):
        began_s = number * BIN_S
        link.on_sent(int(rate * BIN_S / 2), began_s, began_s + BIN_S / 2)
        link.on_sent(int(rate * BIN_S / 2), began_s + BIN_S / 2, began_s + BIN_S)
        if cpu_share is not None:
            link.on_load(cpu_share, now_s=began_s + BIN_S)


def test_a_rate_is_assumed_until_enough_was_sent() -> None:
    link = a_link()
    assert link.bytes_per_s == 125e6

    send(link, 50e6, bins=1)
    assert link.bytes_per_s == 125e6
    assert not link.is_cpu_bound
    send(link, 50e6, bins=1, first=1)
    assert link.bytes_per_s == pytest.approx(50e6)


def test_the_best_of_what_was_achieved_is_the_rate() -> None:
    link = a_link()
    send(link, 30e6, bins=20)
    send(link, 90e6, bins=4, first=20)
    send(link, 20e6, bins=20, first=24)

    assert link.bytes_per_s == pytest.approx(90e6)


def test_one_burst_that_a_buffer_took_is_no_rate() -> None:
    link = a_link()
    send(link, 30e6, bins=20)
    send(link, 900e6, bins=1, first=20)

    assert link.bytes_per_s == pytest.approx(30e6)


def test_what_was_sent_now_and_then_tells_nothing() -> None:
    link = a_link()
    for number in range(100):
        link.on_sent(1000, number * BIN_S, number * BIN_S + 0.01)

    assert link.bytes_per_s == 125e6


def test_uploads_beside_each_other_and_over_many_bins_add_up() -> None:
    link = a_link()
    for _ in range(8):
        link.on_sent(10_000_000, 0.1, 2.1)

    assert link.bytes_per_s == pytest.approx(40e6)


def test_a_few_slow_receivers_make_no_link_that_bears_slow_encoders() -> None:
    link = a_link()
    send(link, 1e6, bins=50)

    assert link.bytes_per_s == RATE_MIN


def test_an_upload_that_took_no_time_is_counted() -> None:
    link = a_link()
    link.on_sent(1000, 1.0, 1.0)

    assert link.bytes_per_s == 125e6


def test_what_an_operator_says_is_the_rate() -> None:
    link = a_link(told=12.5e6)
    send(link, 90e6, bins=20)

    assert link.bytes_per_s == 12.5e6


def test_a_link_that_is_faster_than_the_cpus_is_not_what_is_waited_for() -> None:
    link = a_link(told=125e6)
    send(link, 60e6, bins=8, cpu_share=1.0)
    assert link.is_cpu_bound

    send(link, 60e6, bins=9, first=8, cpu_share=0.5)  # as much, and CPUs to spare
    assert not link.is_cpu_bound


def test_busy_cpus_beside_a_slow_trickle_say_nothing_about_the_link() -> None:
    link = a_link()
    send(link, 60e6, bins=4, cpu_share=0.4)
    send(link, 5e6, bins=40, first=4, cpu_share=1.0)

    assert not link.is_cpu_bound


def test_without_a_look_at_the_cpus_the_link_is_the_limit() -> None:
    link = a_link()
    send(link, 60e6, bins=8, cpu_share=None)

    assert not link.is_cpu_bound


def test_what_is_remembered_is_bounded_and_idle_time_forgets_nothing() -> None:
    link = a_link()
    send(link, 60e6, bins=10)
    for number in range(10, 10 * BINS_MAX):
        link.on_load(0.0, now_s=(number + 1) * BIN_S)
    assert link.bytes_per_s == pytest.approx(60e6)

    send(link, 20e6, bins=2 * BINS_MAX, first=10 * BINS_MAX)
    assert link.bytes_per_s == pytest.approx(20e6)
    assert len(link._bins) <= BINS_MAX
