"""Over how many connections a content is read: those that make it faster; each byte is asked once.

A source is imagined here that gives each connection a rate, or all together one.
"""

from dataclasses import dataclass, field

import pytest

from damselfly.core.blocks import Span
from damselfly.core.ranging import Part, Ranging

MB = 1_000_000
BLOCK = 1 << 20
STEP_S = 0.02


@dataclass
class Imagined:
    """A source, and what is read of it."""

    gaps: list[Span]
    each: float = 50 * MB
    together: float = 10_000 * MB
    first_byte_s: float = 0.2
    connections_max: int = 16
    enough: float = 1250 * MB
    slow: tuple[int, ...] = ()  # the numbers of those that have a tenth
    silent: tuple[int, ...] = ()  # ... and of those that begin only after 3 s
    parts: list[Part] = field(default_factory=list)
    ended: list[Part] = field(default_factory=list)
    most: int = 0
    now_s: float = 0.0

    def read(self, until_s: float = 1000.0) -> Ranging:
        """Read it all."""
        ranging = Ranging(
            self.gaps,
            block_bytes=BLOCK,
            connections_max=self.connections_max,
            enough_bytes_per_s=self.enough,
        )
        self.parts = [ranging.begin(0.0)]
        while len(self.ended) < len(self.parts) and self.now_s < until_s:
            self.now_s += STEP_S
            running = [part for part in self.parts if part not in self.ended]
            self.most = max(self.most, len(running))
            flowing = [part for part in running if self._has_begun(part)]
            for part in flowing:
                self._flow(ranging, part, min(self.each, self.together / len(flowing)))
        return ranging

    def _has_begun(self, part: Part) -> bool:
        if part is self.parts[0]:
            return True  # its answer is open
        pause_s = 3.0 if self.parts.index(part) in self.silent else self.first_byte_s
        return self.now_s - part.asked_s >= pause_s

    def _flow(self, ranging: Ranging, part: Part, rate: float) -> None:
        if self.parts.index(part) in self.slow:
            rate /= 10
        count = min(int(rate * STEP_S), part.left_bytes)
        self.parts += ranging.came(part, count, self.now_s)
        if not part.left_bytes:
            self.ended.append(part)
            self.parts += ranging.ended(part, self.now_s)


def whole(size_bytes: int) -> list[Span]:
    return [Span(0, size_bytes)]


def check_each_byte_once(source: Imagined) -> None:
    read = sorted((part.span.start_byte, part.stop_byte) for part in source.parts)
    joined: list[tuple[int, int]] = []
    for start, stop in read:
        if joined and joined[-1][1] == start:
            joined[-1] = joined[-1][0], stop
        else:
            joined.append((start, stop))
    assert joined == [(gap.start_byte, gap.stop_byte) for gap in source.gaps]
    assert all(part.span.start_byte % BLOCK == 0 for part in source.parts)


def test_a_source_that_gives_each_a_share_is_read_over_all_connections_at_once() -> None:
    source = Imagined(whole(1 << 30))

    source.read()

    assert source.most == 16
    assert source.now_s < 1.25 * (0.2 + (1 << 30) / (16 * 50 * MB))
    assert len(source.parts) == 16  # nobody waits for a second round trip
    check_each_byte_once(source)


def test_a_source_that_gives_all_to_the_first_is_soon_read_by_one_again() -> None:
    source = Imagined(whole(4 << 30), each=200 * MB, together=200 * MB)

    ranging = source.read()

    assert ranging.connections == 1
    assert source.now_s < 1.05 * (4 << 30) / (200 * MB)
    check_each_byte_once(source)
    rest = source.parts[-1]
    assert len(rest.span) > 1 << 30  # all that was left, in one


def test_what_the_links_of_the_hosts_carry_is_enough() -> None:
    source = Imagined(whole(1 << 30), each=100 * MB, enough=125 * MB)
    source.read()
    assert len(source.parts) == 1

    source = Imagined(whole(1 << 30), each=40 * MB, enough=125 * MB)
    source.read()
    assert source.most == 3


@pytest.mark.parametrize("connections_max", [1, 6])
def test_there_are_never_more_than_the_budget_allows(connections_max: int) -> None:
    source = Imagined(whole(1 << 30), connections_max=connections_max)

    source.read()

    assert source.most == connections_max


def test_a_slow_source_is_judged_after_a_while_and_its_parts_are_not_small() -> None:
    source = Imagined(whole(100 << 20), each=1 * MB)

    source.read()

    assert source.most == 12
    assert min(len(part.span) for part in source.parts) >= 8 << 20
    check_each_byte_once(source)


def test_a_content_that_has_nearly_come_is_left_to_its_connection() -> None:
    source = Imagined(whole(16 << 20), each=50 * MB)

    source.read()

    assert len(source.parts) == 1


def test_parts_of_a_long_content_are_given_in_order_and_last_longer_than_their_round_trips() -> (
    None
):
    source = Imagined(whole(8 << 30))

    source.read()

    starts = [part.span.start_byte for part in source.parts]
    assert starts == sorted(starts)
    assert source.now_s < 1.2 * (8 << 30) / (16 * 50 * MB)
    check_each_byte_once(source)


def test_what_was_held_already_is_not_asked_for() -> None:
    gaps = [Span(i * (64 << 20), i * (64 << 20) + (40 << 20)) for i in range(1, 9)]
    source = Imagined(gaps)

    source.read()

    assert source.most == 16
    check_each_byte_once(source)


def test_a_connection_that_lags_gives_half_of_its_rest_away() -> None:
    source = Imagined(whole(1 << 30), slow=(5,))

    source.read()

    assert source.now_s < 6.0  # alone it would have taken 13 s
    check_each_byte_once(source)


def test_a_trial_waits_for_connections_that_take_long_to_their_first_bytes() -> None:
    source = Imagined(whole(4 << 30), each=20 * MB, first_byte_s=1.5)

    ranging = source.read()

    assert ranging.connections == 16


def test_a_connection_that_has_not_begun_is_not_judged_by_that() -> None:
    source = Imagined(whole(1 << 30), silent=(15,))

    source.read()

    assert len(source.parts) == 16
    assert source.now_s < 6.0


def test_a_part_that_breaks_is_the_last_one_to_be_asked_for() -> None:
    source = Imagined(whole(4 << 30))
    ranging = source.read(until_s=1.5)
    running = [part for part in source.parts if part not in source.ended]

    ranging.broke(running[0])

    assert all(not ranging.ended(part, 2.0) for part in running[1:])


def test_a_part_is_not_cut_where_its_reader_may_be_already() -> None:
    """The block after the present one may have been begun when the others are asked for."""
    source = Imagined(whole(32 << 20))
    ranging = Ranging(
        source.gaps, block_bytes=16 << 20, connections_max=2, enough_bytes_per_s=1000 * MB
    )
    part = ranging.begin(0.0)
    assert ranging.came(part, 500_000, 0.02) == []

    assert ranging.came(part, 1 << 20, 0.6) == []

    assert part.stop_byte == 32 << 20


def test_a_rate_is_known_from_the_second_bytes_on() -> None:
    part = Part(Span(0, 100), 100, 0.0)
    assert part.rate(5.0) == 0.0
    ranging = Ranging(
        [Span(0, 1 << 30)], block_bytes=BLOCK, connections_max=4, enough_bytes_per_s=1
    )
    first = ranging.begin(0.0)
    ranging.came(first, 10, 1.0)
    assert first.rate(1.0) == 0.0
