"""The key provider `file`: keys in a file that only damselfly's user can read.

It is TOML: `current` names the key that wraps new data keys, and the table `keys` has each
key as 64 hexadecimal digits. To rotate, add a key and make it the current one; the old one
stays as long as something wrapped by it is in the cache. The file is read each time it is
needed, once per edition, so that nobody has to restart for that.
"""

import os
import re
import secrets
import stat
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from damselfly.errors import KeyUnavailableError, RemoteProtocolError
from damselfly.services.encrypting.key_providers import WrappedKey
from damselfly.wire.ciphers.aes256gcm import NONCE_BYTES, Aes256Gcm

OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
FILE_BYTES_MAX: Final = 1 << 20  # ten thousand keys
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_KEY: Final = re.compile(r"[0-9a-fA-F]{64}")


@dataclass(frozen=True, slots=True)
class KeyRing:
    """What a key file holds.

    Attributes:
        current: Name of the key that wraps new data keys.
        keys: {name: key}.
    """

    current: str
    keys: dict[str, bytes] = field(repr=False)

    @classmethod
    def read(cls, path: str) -> Self:
        """Return the keys in a file.

        Raises:
            KeyUnavailableError: It cannot be read, others can read it, or it is no key file.
        """
        try:
            with Path(path).open("rb") as file:
                status = os.fstat(file.fileno())
                if reason := why_not_secret(status):
                    raise KeyUnavailableError(key=f"key file {path}", reason=reason)
                tables = tomllib.loads(file.read(FILE_BYTES_MAX).decode())
        except OSError as exc:
            reason = exc.strerror or str(exc)
            raise KeyUnavailableError(key=f"key file {path}", reason=reason) from exc
        except ValueError as exc:  # its text may show a key
            reason = "it is no TOML; see damselfly keys new --help"
            raise KeyUnavailableError(key=f"key file {path}", reason=reason) from exc
        return cls._parse(path, tables)

    @classmethod
    def _parse(cls, path: str, tables: dict[str, object]) -> Self:
        current, keys = tables.get("current"), tables.get("keys")
        reason = ""
        if tables.keys() - {"current", "keys"} or not isinstance(keys, dict):
            reason = "it must have current = NAME and a table [keys], and nothing else"
        elif current not in keys:
            reason = f"its current key {current!r} is not in [keys]"
        else:
            for name, value in keys.items():
                if not NAME.fullmatch(name):
                    reason = f"{name[:80]!r} is no name: letters, digits, '.', '_', '-', 64 at most"
                elif not isinstance(value, str) or not _KEY.fullmatch(value):
                    reason = f"key {name} must be text of 64 hexadecimal digits"
        if reason or not isinstance(keys, dict):
            raise KeyUnavailableError(key=f"key file {path}", reason=reason)
        return cls(str(current), {name: bytes.fromhex(value) for name, value in keys.items()})


def why_not_secret(status: os.stat_result) -> str:
    """Return why a file is not one that only we can read; empty when it is."""
    if not stat.S_ISREG(status.st_mode):
        return "it is no file"
    if status.st_mode & OTHERS:
        mode = stat.S_IMODE(status.st_mode)
        return f"others than its owner can use it (mode {mode:04o}); run chmod 600 on it"
    if status.st_uid not in (os.geteuid(), 0):
        return f"it belongs to user {status.st_uid}, and neither to damselfly's user nor to root"
    return ""


class KeyFile:
    """Wraps data keys with the keys in a file; see `KeyProvider`."""

    def __init__(self, path: str) -> None:
        self._path = path
        KeyRing.read(path)  # what is wrong with it is said at the start

    def wrap(self, secret: bytes, *, context: bytes) -> WrappedKey:
        """Return a data key encrypted with the current key."""
        ring = KeyRing.read(self._path)
        wrapped = Aes256Gcm().seal(
            secret,
            associated=context,
            key=ring.keys[ring.current],
            nonce=secrets.token_bytes(NONCE_BYTES),
        )
        return WrappedKey(ring.current, wrapped)

    def unwrap(self, key: WrappedKey, *, context: bytes) -> bytes:
        """Return a data key that was wrapped."""
        ring = KeyRing.read(self._path)
        if (wrapping := ring.keys.get(key.key_name)) is None:
            reason = f"{self._path} does not hold it; put it back, or let the content be read anew"
            raise KeyUnavailableError(key=f"key {key.key_name}", reason=reason)
        try:
            return Aes256Gcm().open(key.wrapped, associated=context, key=wrapping)
        except RemoteProtocolError as exc:
            reason = f"in {self._path} it has another value than when it was used"
            raise KeyUnavailableError(key=f"key {key.key_name}", reason=reason) from exc


def add_key(path: str, name: str) -> None:
    """Add a new key to a file, which is made if there is none, and make it the current one.

    Raises:
        KeyUnavailableError: The file cannot be used or written, or has a key of this name.
    """
    keys: dict[str, bytes] = {}
    if os.path.lexists(path):
        keys = KeyRing.read(path).keys
    if not NAME.fullmatch(name) or name in keys:
        reason = "there is one already" if name in keys else "that is no name for a key"
        raise KeyUnavailableError(key=f"key {name[:80]!r} in {path}", reason=reason)
    lines = [f'current = "{name}"', "", "[keys]"]
    lines += [f'"{each}" = "{key.hex()}"' for each, key in keys.items()]
    lines += [f'"{name}" = "{secrets.token_hex(32)}"', ""]
    temporary = Path(f"{path}.new")
    try:
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write("\n".join(lines))
            file.flush()
            os.fsync(file.fileno())  # before it replaces keys that are needed
        temporary.replace(path)
    except OSError as exc:
        reason = f"cannot be written: {exc.strerror or exc}"
        raise KeyUnavailableError(key=f"key file {path}", reason=reason) from exc
