"""Guards what leaves a full cache: the longest unused first, and nothing in vain."""

from hypothesis import given, strategies as st

from damselfly.core.caching.eviction import Evictable, choose_evicted

evictables = st.lists(
    st.builds(
        Evictable,
        name=st.text("abcdef", min_size=1),
        stored_bytes=st.integers(0, 100),
        used_wall_s=st.floats(0, 10),
    ),
    unique_by=lambda entry: entry.name,
)


def an_entry(name: str, *, stored_bytes: int = 10, used_wall_s: float = 0.0) -> Evictable:
    return Evictable(name=name, stored_bytes=stored_bytes, used_wall_s=used_wall_s)


def test_longest_unused_leaves_first() -> None:
    entries = [an_entry("b", used_wall_s=2), an_entry("c", used_wall_s=3), an_entry("a")]

    assert choose_evicted(entries, wanted_bytes=11) == ["a", "b"]


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
