"""Guards the file of keys: nobody else can read it, and what it wrapped stays readable."""

import os
from pathlib import Path

import pytest

from damselfly.errors import KeyUnavailableError
from damselfly.services.encrypting.key_file import KeyFile, KeyRing, add_key, why_not_secret
from damselfly.services.encrypting.key_providers import WrappedKey

SECRET = bytes(range(32))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "keys.toml"
    add_key(str(path), "2026-11")
    return path


def test_a_new_file_is_for_its_owner_alone_and_has_one_key(path: Path) -> None:
    ring = KeyRing.read(str(path))

    assert path.stat().st_mode & 0o777 == 0o600
    assert ring.current == "2026-11"
    assert [len(key) for key in ring.keys.values()] == [32]


def test_what_was_wrapped_is_unwrapped_for_the_same_edition_only(path: Path) -> None:
    provider = KeyFile(str(path))

    wrapped = provider.wrap(SECRET, context=b"edition 1")

    assert wrapped.key_name == "2026-11"
    assert SECRET not in wrapped.wrapped
    assert provider.unwrap(wrapped, context=b"edition 1") == SECRET
    with pytest.raises(KeyUnavailableError, match="key 2026-11 cannot be had"):
        provider.unwrap(wrapped, context=b"edition 2")


def test_after_a_rotation_the_new_key_wraps_and_the_old_one_unwraps(path: Path) -> None:
    provider = KeyFile(str(path))
    old = provider.wrap(SECRET, context=b"")

    add_key(str(path), "2026-12")

    assert provider.wrap(SECRET, context=b"").key_name == "2026-12"
    assert provider.unwrap(old, context=b"") == SECRET


def test_a_key_that_nobody_has_is_named(path: Path) -> None:
    with pytest.raises(KeyUnavailableError, match=r"key 2019 cannot be had: .* put it back"):
        KeyFile(str(path)).unwrap(WrappedKey("2019", bytes(60)), context=b"")


def test_a_key_whose_value_changed_is_named(path: Path) -> None:
    provider = KeyFile(str(path))
    wrapped = provider.wrap(SECRET, context=b"")
    path.unlink()
    add_key(str(path), "2026-11")

    with pytest.raises(KeyUnavailableError, match="another value than when it was used"):
        provider.unwrap(wrapped, context=b"")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o610])
def test_a_file_that_others_can_use_is_refused(path: Path, mode: int) -> None:
    path.chmod(mode)

    with pytest.raises(KeyUnavailableError, match=rf"mode {mode:04o}\); run chmod 600"):
        KeyFile(str(path))


def test_a_file_of_somebody_else_is_refused() -> None:
    theirs = os.stat_result((0o100600, 0, 0, 1, 12345, 0, 0, 0, 0, 0))
    ours = os.stat_result((0o100600, 0, 0, 1, os.geteuid(), 0, 0, 0, 0, 0))

    assert "belongs to user 12345" in why_not_secret(theirs)
    assert why_not_secret(ours) == ""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "must have current"),
        ("current = 'a'", "must have current"),
        ("current = 'a'\nother = 1\n[keys]\na = 'x'", "nothing else"),
        ("current = 'b'\n[keys]\na = 'x'", "current key 'b' is not in"),
        ("current = 'a'\n[keys]\na = 'secret'", "key a must be text of 64 hexadecimal"),
        ("current = 'a'\n[keys]\na = 5", "key a must be text of 64 hexadecimal"),
        ("current = 'a b'\n[keys]\n'a b' = 'x'", "is no name"),
        ("current = [\n", "is no TOML"),
        ("\xff", "is no TOML"),
    ],
)
def test_a_file_that_is_none_is_refused_without_showing_it(
    path: Path, text: str, said: str
) -> None:
    path.write_text(text, encoding="latin-1")

    with pytest.raises(KeyUnavailableError, match=said) as caught:
        KeyFile(str(path))
    assert "secret" not in str(caught.value)


def test_a_file_that_is_not_there_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyUnavailableError, match="No such file"):
        KeyFile(str(tmp_path / "none"))
    with pytest.raises(KeyUnavailableError, match="Is a directory"):
        KeyFile(str(tmp_path))
    with pytest.raises(KeyUnavailableError, match="it is no file"):
        KeyFile("/dev/null")


def test_a_key_is_never_replaced(path: Path) -> None:
    before = path.read_text()

    with pytest.raises(KeyUnavailableError, match="there is one already"):
        add_key(str(path), "2026-11")
    with pytest.raises(KeyUnavailableError, match="no name for a key"):
        add_key(str(path), "a/b")
    with pytest.raises(KeyUnavailableError, match="cannot be written"):
        add_key("/proc/nowhere/keys.toml", "a")
    assert path.read_text() == before


def test_keys_are_not_shown(path: Path) -> None:
    ring = KeyRing.read(str(path))
    wrapped = WrappedKey("a", b"wrapped")

    assert ring.keys["2026-11"].hex() not in repr(ring)
    assert "wrapped=" not in repr(wrapped)
