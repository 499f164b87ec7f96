"""Guards what leaves a full cache: the longest unused first, and nothing in vain."""

from hypothesis import given, strategies as st

from damselfly.core.caching.eviction import (
    Evictable,
    enough_of,
    eviction_order,
    is_expired,
)

evictables = st.lists(
    st.builds(
        Evictable,
        name=st.text("abcdef", min_size=1),
        stored_bytes=st.integers(0, 100),
        used_wall_s=st.floats(0, 10),
    ),
    unique_by=lambda entry: entry.name,
)


NOW_WALL_S = 10.0


def an_entry(
    name: str, *, stored_bytes: int = 10, used_wall_s: float = 0.0, is_elsewhere: bool = False
) -> Evictable:
    return Evictable(
        name=name, stored_bytes=stored_bytes, used_wall_s=used_wall_s, is_elsewhere=is_elsewhere
    )


def choose_evicted(entries: list[Evictable], *, wanted_bytes: int) -> list[str]:
    order = eviction_order(entries, now_wall_s=NOW_WALL_S)
    return [entry.name for entry in enough_of(order, wanted_bytes=wanted_bytes)]


def test_longest_unused_leaves_first() -> None:
    entries = [an_entry("b", used_wall_s=2), an_entry("c", used_wall_s=3), an_entry("a")]

    assert choose_evicted(entries, wanted_bytes=11) == ["a", "b"]


def test_what_others_hold_too_leaves_when_it_was_idle_half_as_long() -> None:
    entries = [
        an_entry("alone", used_wall_s=4),  # idle for 6 s
        an_entry("shared", used_wall_s=6, is_elsewhere=True),  # 4 s count as 8 s
        an_entry("fresh", used_wall_s=8, is_elsewhere=True),  # 2 s count as 4 s
    ]

    assert choose_evicted(entries, wanted_bytes=30) == ["shared", "alone", "fresh"]


def test_an_entry_from_the_future_was_just_used() -> None:
    entries = [an_entry("future", used_wall_s=99), an_entry("past", used_wall_s=9)]

    assert choose_evicted(entries, wanted_bytes=1) == ["past"]


def test_an_entry_expires_when_it_was_idle_for_longer_than_it_may() -> None:
    assert is_expired(0.0, now_wall_s=11.0, ttl_s=10.0)
    assert not is_expired(0.0, now_wall_s=10.0, ttl_s=10.0)
    assert not is_expired(0.0, now_wall_s=1e9, ttl_s=0.0)


def test_nothing_leaves_when_it_would_not_be_enough() -> None:
    assert choose_evicted([an_entry("a"), an_entry("b")], wanted_bytes=21) == []


def test_nothing_leaves_when_nothing_is_wanted() -> None:
    assert choose_evicted([an_entry("a")], wanted_bytes=0) == []


@given(evictables, st.integers(0, 500))
def test_just_enough_leaves_or_nothing(entries: list[Evictable], wanted_bytes: int) -> None:
    sizes = {entry.name: entry.stored_bytes for entry in entries}

    chosen = choose_evicted(entries, wanted_bytes=wanted_bytes)

    freed = sum(sizes[name] for name in chosen)
    if sum(sizes.values()) < wanted_bytes:
        assert chosen == []
    else:
        assert freed >= wanted_bytes
        assert not chosen or freed - sizes[chosen[-1]] < wanted_bytes
