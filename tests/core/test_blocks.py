"""Guards the cut into blocks and the sets of them: arithmetic that all parts must agree on."""

from itertools import pairwise

import pytest
from hypothesis import given, strategies as st

from damselfly.core.blocks import (
    BLOCK_BYTES_MAX,
    BLOCK_BYTES_MIN,
    BLOCK_BYTES_UNKNOWN_SIZE,
    BlockLayout,
    BlockSet,
    Span,
    block_bytes_for,
    gap_spans,
    lowest_bit,
    runs_text,
)

layouts = st.builds(BlockLayout, size_bytes=st.integers(0, 5000), block_bytes=st.integers(1, 700))
indices = st.sets(st.integers(0, 300))


@given(layouts)
def test_blocks_cover_a_content_exactly_once(layout: BlockLayout) -> None:
    spans = [layout.span(index) for index in range(layout.block_count)]

    edges = [0, *(span.stop_byte for span in spans)]
    assert [span.start_byte for span in spans] == edges[:-1]
    assert edges[-1] == layout.size_bytes
    assert all(len(span) == layout.block_bytes for span in spans[:-1])
    with pytest.raises(IndexError):
        layout.span(layout.block_count)


@given(layouts, indices)
def test_gaps_are_what_is_missing_in_as_few_spans_as_possible(
    layout: BlockLayout, held: set[int]
) -> None:
    held = {index for index in held if index < layout.block_count}

    gaps = gap_spans(layout, BlockSet.of(held))

    missing = set(range(layout.block_count)) - held
    covered = {byte for gap in gaps for byte in range(gap.start_byte, gap.stop_byte)}
    assert covered == {
        byte
        for index in missing
        for byte in range(layout.span(index).start_byte, layout.span(index).stop_byte)
    }
    assert all(a.stop_byte < b.start_byte for a, b in pairwise(gaps))


@given(indices, indices)
def test_block_set_is_a_set(left: set[int], right: set[int]) -> None:
    one, other = BlockSet.of(left), BlockSet.of(right)

    assert list(one) == sorted(left)
    assert set(one | other) == left | right
    assert set(one & other) == left & right
    assert set(one - other) == left - right
    assert len(one) == len(left)
    assert bool(one) == bool(left)
    assert (one == other) == (left == right)
    assert BlockSet.from_bytes(one.to_bytes()) == one
    grown = one.copy()
    grown.update(other)
    assert set(grown) == left | right
    assert set(one) == left


def test_block_set_changes_by_single_blocks() -> None:
    blocks = BlockSet.full(3)
    blocks.add(7)
    blocks.discard(1)
    blocks.discard(100)

    assert list(blocks) == [0, 2, 7]
    assert 7 in blocks
    assert "7" not in blocks
    assert blocks != {0, 2, 7}
    assert repr(blocks) == "BlockSet(0,2,7)"


@pytest.mark.parametrize(
    ("bits", "text"), [(0, "-"), (1, "0"), (0b1111, "0-3"), (0b10001111, "0-3,7")]
)
def test_runs_are_shown(bits: int, text: str) -> None:
    assert runs_text(bits) == text


def test_lowest_bit_is_found() -> None:
    assert lowest_bit(0b101000) == 3


def test_span_has_its_length() -> None:
    assert len(Span(3, 10)) == 7


@given(st.one_of(st.none(), st.integers(0, 1 << 44)), st.floats(1e5, 1e11))
def test_block_size_is_a_power_of_two_within_limits(size: int | None, rate: float) -> None:
    block_bytes = block_bytes_for(size, link_rate_bytes_per_s=rate)

    assert BLOCK_BYTES_MIN <= block_bytes <= BLOCK_BYTES_MAX
    assert block_bytes & (block_bytes - 1) == 0


def test_block_size_grows_with_content_and_link() -> None:
    mib = 1 << 20
    sizes = [block_bytes_for(size, link_rate_bytes_per_s=125e6) for size in (10**8, 10**9, 10**10)]

    assert sizes == [mib, 4 * mib, 16 * mib]
    assert block_bytes_for(10**9, link_rate_bytes_per_s=5e6) == mib
    assert block_bytes_for(None, link_rate_bytes_per_s=125e6) == BLOCK_BYTES_UNKNOWN_SIZE
