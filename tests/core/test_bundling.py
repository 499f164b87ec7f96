"""Small files in bundles: the same for everybody, and named by what makes them."""

import pytest

from damselfly.core import bundling
from damselfly.core.bundling import BundleAddress, Split, split
from damselfly.core.members import Member
from damselfly.core.urls import normalise_url


def a_member(path: str, size_bytes: int | None = 10) -> Member:
    return Member(path=path, url=f"http://h/{path}", size_bytes=size_bytes)


SMALL = tuple(a_member(f"s{number}") for number in range(5))


def test_small_files_travel_together_and_large_ones_alone() -> None:
    large = (a_member("big", 2 << 20), a_member("unknown", None))
    made = Member(path="index.json", url="", text="{}")

    assert split([*reversed(SMALL), *large, made]) == Split(large, (SMALL,))


def test_a_few_small_files_are_no_crowd() -> None:
    assert split(SMALL[:3]) == Split(SMALL[:3], ())


def test_what_is_not_wanted_is_in_no_bundle() -> None:
    assert split(SMALL, exclude=["s0"]).bundles == (SMALL[1:],)
    assert split(SMALL, include=["s4"]) == Split(SMALL[4:], ())


@pytest.mark.parametrize(("name", "limit"), [("BUNDLE_BYTES_MAX", 35), ("MEMBERS_MAX", 3)])
def test_a_bundle_is_cut_where_it_is_full(
    monkeypatch: pytest.MonkeyPatch, name: str, limit: int
) -> None:
    monkeypatch.setattr(bundling, name, limit)

    assert split(SMALL).bundles == (SMALL[:3], SMALL[3:])


@pytest.mark.parametrize(
    "address",
    [
        BundleAddress(folder_url="s3://b/p/"),
        BundleAddress(folder_url="http://h/d/?a=1&b", number=7),
        BundleAddress(folder_url="http://h/", include=("*.json", "a&b"), exclude=("x y", "=")),
    ],
)
def test_an_address_is_a_url_and_back(address: BundleAddress) -> None:
    assert BundleAddress.parse(normalise_url(address.url)) == address


@pytest.mark.parametrize("number", ["", "x", "-1", "9" * 40])
def test_a_number_that_is_none_is_the_first(number: str) -> None:
    assert BundleAddress.parse(f"bundle+s3://b/?damselfly.number={number}").number == 0


def test_empty_pairs_of_a_query_name_nothing() -> None:
    address = BundleAddress.parse("bundle+http://h/?&a&damselfly.number=2")

    assert address == BundleAddress(folder_url="http://h/?a", number=2)
