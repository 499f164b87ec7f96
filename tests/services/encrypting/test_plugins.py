"""Guards plug-ins: one that raises, hangs or lies is one clear error, and nothing else breaks."""

import threading
from pathlib import Path

import pytest

from damselfly.errors import KeyUnavailableError, PluginError, RemoteProtocolError
from damselfly.services.encrypting.cipher_plugins import Ciphers, GuardedCipher
from damselfly.services.encrypting.key_providers import GuardedProvider, WrappedKey
from damselfly.services.plugins import Guard
from damselfly.wire.ciphers.aes256gcm import Aes256Gcm
from services.plugin_packages import OnPath, a_cipher, install

KEY, NONCE, HEADER = bytes(32), bytes(12), bytes(40)


# --- the guard


def test_a_call_returns_what_the_plug_in_returns() -> None:
    guard = Guard("cipher x")

    assert guard.call(max, 1, 2) == 2
    assert guard.call(lambda: None) is None


def test_what_a_plug_in_raises_names_it() -> None:
    with pytest.raises(PluginError, match="plug-in cipher x failed: ZeroDivisionError") as caught:
        Guard("cipher x").call(lambda: 1 // 0)

    assert caught.value.exit_code == 62


def test_an_error_of_ours_comes_through() -> None:
    def refuse() -> None:
        raise KeyUnavailableError(key="key a", reason="gone")

    with pytest.raises(KeyUnavailableError, match="key a cannot be had: gone"):
        Guard("key provider x").call(refuse)


def test_a_plug_in_that_hangs_is_left_alone_from_then_on() -> None:
    hanging = threading.Event()
    guard = Guard("cipher x", call_s=0.05)

    with pytest.raises(PluginError, match=r"did not answer within 0.05 s"):
        guard.call(hanging.wait)
    hanging.set()  # so that it would answer now, were it called
    with pytest.raises(PluginError, match="hung before"):
        guard.call(hanging.wait)


# --- ciphers


def test_the_usual_cipher_is_there_by_name_and_by_id() -> None:
    ciphers = Ciphers()

    assert ciphers.by_name("aes-256-gcm") is ciphers.by_id(1)
    assert 1 in ciphers.known_ids()


def test_a_cipher_of_a_plug_in_is_found(tmp_path: Path, on_path: OnPath) -> None:
    on_path(a_cipher(tmp_path, "found"))
    ciphers = Ciphers()

    assert ciphers.known_ids() == (1, 200)
    assert ciphers.by_name("found") is ciphers.by_id(200)
    sealed = ciphers.by_id(200).seal(b"x", associated=HEADER, key=KEY, nonce=NONCE)
    assert ciphers.by_id(200).open(sealed, associated=HEADER, key=KEY) == b"x"
    with pytest.raises(RemoteProtocolError, match="does not open"):
        ciphers.by_id(200).open(sealed, associated=bytes(39), key=KEY)


def test_a_cipher_that_is_not_installed_is_named() -> None:
    with pytest.raises(PluginError, match="cipher rot13 is not installed here"):
        Ciphers().by_name("rot13")
    with pytest.raises(PluginError, match="cipher 77 is not installed here"):
        Ciphers().by_id(77)


def test_a_cipher_that_takes_an_id_of_another_is_refused(tmp_path: Path, on_path: OnPath) -> None:
    on_path(a_cipher(tmp_path / "a", "first", cipher_id=201))
    on_path(a_cipher(tmp_path / "b", "second", cipher_id=201))
    ciphers = Ciphers()

    assert ciphers.known_ids() == (1, 201)
    assert ciphers.by_id(201).name == "first"
    with pytest.raises(PluginError, match="cipher second has the id 201 of first"):
        ciphers.by_name("second")


@pytest.mark.parametrize(
    ("name", "source", "said"),
    [
        ("broken", "raise ValueError('no licence')", "cannot be loaded: ValueError: no licence"),
        ("empty", "class Plugin: pass", "is no cipher"),
        ("raises", "def Plugin(): raise KeyError('x')", "failed: KeyError"),
        ("id-0", "class Plugin:\n cipher_id=key_bytes=nonce_bytes=overhead_bytes=0", "cannot be"),
    ],
)
def test_a_cipher_that_is_none_is_named_and_the_others_stay(
    tmp_path: Path, on_path: OnPath, name: str, source: str, said: str
) -> None:
    on_path(install(tmp_path, "damselfly.ciphers", name, source))
    ciphers = Ciphers()

    with pytest.raises(PluginError, match=f"cipher {name} .*{said}"):
        ciphers.by_name(name)
    assert ciphers.known_ids() == (1,)


def test_a_cipher_that_makes_too_few_bytes_is_found_out() -> None:
    class Short(Aes256Gcm):
        def seal(self, *_: object, **__: object) -> bytes:
            return b"short"

        def open(self, *_: object, **__: object) -> bytes:
            return b"short"

    cipher = GuardedCipher("short", Short(), Guard("cipher short"))

    with pytest.raises(PluginError, match="did not make the 38 bytes that it promises"):
        cipher.seal(bytes(10), associated=HEADER, key=KEY, nonce=NONCE)
    with pytest.raises(PluginError, match="did not make the 10 bytes"):
        cipher.open(bytes(38), associated=HEADER, key=KEY)


# --- key providers

A_PROVIDER = """\
from damselfly.services.encrypting.key_providers import WrappedKey

class Plugin:
    def __init__(self, keys):
        self.name = keys

    def wrap(self, secret, *, context):
        return {wrap}

    def unwrap(self, key, *, context):
        return {unwrap}
"""


def a_provider(folder: Path, name: str, *, wrap: str, unwrap: str) -> Path:
    return install(folder, "damselfly.keys", name, A_PROVIDER.format(wrap=wrap, unwrap=unwrap))


def test_a_provider_of_a_plug_in_wraps_and_unwraps(tmp_path: Path, on_path: OnPath) -> None:
    wrap, unwrap = "WrappedKey(self.name, secret[::-1])", "key.wrapped[::-1]"
    on_path(a_provider(tmp_path, "mirrored", wrap=wrap, unwrap=unwrap))
    provider = GuardedProvider("mirrored", "k1")

    wrapped = provider.wrap(b"secret", context=b"")

    assert wrapped == WrappedKey("k1", b"terces")
    assert provider.unwrap(wrapped, context=b"") == b"secret"


@pytest.mark.parametrize(
    ("name", "wrap", "said"),
    [
        ("lazy", "WrappedKey('k', secret)", "did not wrap"),
        ("silent", "None", "did not wrap"),
        ("angry", "1 // 0", "failed: ZeroDivisionError"),
    ],
)
def test_a_provider_that_fails_is_named(
    tmp_path: Path, on_path: OnPath, name: str, wrap: str, said: str
) -> None:
    on_path(a_provider(tmp_path, name, wrap=wrap, unwrap="None"))
    provider = GuardedProvider(name, "")

    with pytest.raises(PluginError, match=f"key provider {name} {said}"):
        provider.wrap(b"secret", context=b"")
    with pytest.raises(PluginError, match="did not unwrap"):
        provider.unwrap(WrappedKey("k", b""), context=b"")


def test_a_provider_that_is_not_installed_is_named() -> None:
    with pytest.raises(PluginError, match="key provider vault is not installed here"):
        GuardedProvider("vault", "")
