"""Guards ciphers and data keys: what was sealed opens, and whatever was changed does not."""

import random
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, strategies as st

from damselfly.core.task import EditionId
from damselfly.errors import RemoteProtocolError
from damselfly.wire.ciphers.aes256gcm import AES_256_GCM, NONCE_BYTES, TAG_BYTES, Aes256Gcm
from damselfly.wire.ciphers.data_keys import DataKey, key_id_of
from damselfly.wire.ciphers.key_exchange import KeyQuestion, answer_key

KEY, OTHER_KEY = bytes(range(32)), bytes(32)
HEADER = bytes(range(100, 140))
EDITION, OTHER_EDITION = EditionId("ab" * 16), EditionId("cd" * 16)


def drawing(seed: int) -> Callable[[int], bytes]:
    return random.Random(seed).randbytes


def a_key(secret: bytes = KEY, seed: int = 0) -> DataKey:
    return DataKey.of(Aes256Gcm(), secret, draw=drawing(seed))


# --- AES-256-GCM


@given(st.binary(max_size=300), st.integers())
def test_what_was_sealed_opens(body: bytes, seed: int) -> None:
    key = a_key(seed=seed)

    sealed = key.seal(body, HEADER)

    assert len(sealed) == len(body) + key.overhead_bytes
    assert key.open(sealed, HEADER) == body
    assert key.open(memoryview(bytearray(sealed)), HEADER) == body


def test_a_sealed_body_is_nonce_ciphertext_and_tag_as_other_libraries_make_them() -> None:
    nonce = drawing(7)(NONCE_BYTES)

    sealed = a_key(seed=7).seal(b"damselfly", HEADER)

    assert sealed == nonce + AESGCM(KEY).encrypt(nonce, b"damselfly", HEADER)
    assert len(sealed) == NONCE_BYTES + len(b"damselfly") + TAG_BYTES


def test_the_same_body_is_never_sealed_the_same_way_twice() -> None:
    key = a_key()

    assert key.seal(b"damselfly", HEADER) != key.seal(b"damselfly", HEADER)


@given(st.binary(min_size=1, max_size=60), st.data())
def test_one_changed_bit_of_body_or_header_does_not_open(body: bytes, data: st.DataObject) -> None:
    key = a_key()
    sealed = key.seal(body, HEADER)
    came = bytearray(sealed + HEADER)
    bit = data.draw(st.integers(0, 8 * len(came) - 1))
    came[bit // 8] ^= 1 << bit % 8

    with pytest.raises(RemoteProtocolError, match="does not open"):
        key.open(came[: len(sealed)], bytes(came[len(sealed) :]))


def test_another_key_does_not_open() -> None:
    sealed = a_key().seal(b"damselfly", HEADER)

    with pytest.raises(RemoteProtocolError, match="another key"):
        a_key(OTHER_KEY).open(sealed, HEADER)


@pytest.mark.parametrize("count", range(Aes256Gcm.overhead_bytes))
def test_a_body_that_is_too_short_is_refused(count: int) -> None:
    with pytest.raises(RemoteProtocolError, match=f"sealed body of {count} bytes"):
        a_key().open(bytes(count), HEADER)


# --- data keys


def test_a_data_key_has_an_id_that_follows_from_it() -> None:
    assert a_key().key_id == a_key(seed=1).key_id == key_id_of(KEY)
    assert a_key().key_id != a_key(OTHER_KEY).key_id
    assert 0 < key_id_of(KEY) < 1 << 32
    assert a_key().cipher_id == AES_256_GCM


def test_a_data_key_shows_nothing_of_its_secret() -> None:
    assert "secret" not in repr(a_key())
    assert repr(KEY)[2:-1] not in repr(a_key())


def test_a_data_key_of_a_wrong_length_is_refused() -> None:
    with pytest.raises(RemoteProtocolError, match="data key of 31 bytes"):
        a_key(bytes(31))


# --- from the SuperNode to a host


def test_who_asked_can_open_the_answer() -> None:
    question = KeyQuestion(drawing(1)(32))

    answer = answer_key(KEY, EDITION, question.public_key, seed=drawing(2)(32))

    assert question.open(answer, EDITION) == KEY
    assert KEY not in answer


def test_nobody_else_can_open_the_answer() -> None:
    question, other = KeyQuestion(drawing(1)(32)), KeyQuestion(drawing(3)(32))
    answer = answer_key(KEY, EDITION, question.public_key, seed=drawing(2)(32))

    with pytest.raises(RemoteProtocolError, match="not sealed for this host"):
        other.open(answer, EDITION)
    with pytest.raises(RemoteProtocolError, match="not sealed for this host"):
        question.open(answer, OTHER_EDITION)


@given(st.binary(max_size=120))
def test_any_answer_is_a_key_or_refused(answer: bytes) -> None:
    question = KeyQuestion(drawing(1)(32))

    with pytest.raises(RemoteProtocolError):
        question.open(answer, EDITION)


@pytest.mark.parametrize("public_key", [b"", bytes(31), bytes(33), bytes(32)])
def test_a_public_key_that_is_none_is_refused(public_key: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="public key"):
        answer_key(KEY, EDITION, public_key, seed=drawing(2)(32))
