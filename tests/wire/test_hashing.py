"""Digests and checksums by their names, on the words with which each is specified."""

import sys

import pytest

from damselfly.wire.hashing import can_hash, new_hasher, other_than_told

KNOWN = {
    "blake3": "b7d65b48420d1033cb2595293263b6f72eabee20d55e699d0df1973b3c9deed1",
    "crc32": "cbf43926",
    "crc32c": "e3069283",
    "crc64nvme": "ae8b14860a799888",
    "md5": "25f9e794323b453885f5181f1b624d0b",
    "sha1": "f7c3bc1d808e04732adf679965ccc34ca7ae3441",
    "sha256": "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225",
}


@pytest.mark.parametrize("name", KNOWN)
def test_what_comes_in_pieces_is_hashed_as_a_whole(name: str) -> None:
    hasher = new_hasher(name)
    hasher.update(b"1234")
    hasher.update(memoryview(b"56789"))

    assert hasher.hexdigest() == KNOWN[name]


@pytest.mark.parametrize("name", KNOWN)
def test_what_is_other_than_was_told_is_named(name: str) -> None:
    told = f"{name}:{KNOWN[name]}"

    assert other_than_told(told, b"123456789") == ""
    assert other_than_told(f"{name}:00", b"123456789") == told


def test_one_that_needs_a_package_is_known_where_that_is(monkeypatch: pytest.MonkeyPatch) -> None:
    known = [can_hash(name) for name in ("crc64nvme", "sha512", "crc32", "crc16")]
    monkeypatch.setitem(sys.modules, "awscrt", None)

    assert known == [True, True, True, False]
    assert not can_hash("crc64nvme")


def test_of_what_nothing_was_told_nothing_is_other() -> None:
    assert other_than_told("", b"123456789") == ""
