"""The ciphers of this process: the one that comes with damselfly, and those of plug-ins."""

from importlib.metadata import EntryPoint
from typing import Final

from damselfly.errors import DamselflyError, PluginError
from damselfly.services.plugins import CALL_S, Guard, find_plugins, load_plugin
from damselfly.telemetry.log import get_log
from damselfly.wire.ciphers.cipher import CIPHER_ID_MAX, OVERHEAD_BYTES_MAX, Buffer, Cipher

GROUP: Final = "damselfly.ciphers"
USUAL_NAME: Final = "aes-256-gcm"
USUAL_ID: Final = 1

log = get_log()


class GuardedCipher:
    """A cipher of a plug-in, held to its promises; see `Cipher`.

    Attributes:
        cipher_id, name, key_bytes, nonce_bytes, overhead_bytes: As the plug-in has them.
    """

    def __init__(self, name: str, plugin: Cipher, guard: Guard) -> None:
        self._plugin = plugin
        self._guard = guard
        self._shown = f"cipher {name}"
        try:
            self.cipher_id = int(plugin.cipher_id)
            self.name = name
            self.key_bytes = int(plugin.key_bytes)
            self.nonce_bytes = int(plugin.nonce_bytes)
            self.overhead_bytes = int(plugin.overhead_bytes)
        except (AttributeError, TypeError, ValueError) as exc:
            raise PluginError(plugin=self._shown, reason=f"is no cipher: {exc}") from exc
        is_possible = (
            0 < self.cipher_id <= CIPHER_ID_MAX
            and self.key_bytes > 0
            and self.nonce_bytes >= 0
            and 0 <= self.overhead_bytes <= OVERHEAD_BYTES_MAX
        )
        if not is_possible:
            raise PluginError(plugin=self._shown, reason="has an id or lengths that cannot be")

    def seal(self, body: Buffer, *, associated: bytes, key: bytes, nonce: bytes) -> bytes:
        """Return a body encrypted.

        Raises:
            PluginError: The plug-in failed.
        """
        made = self._guard.call(
            self._plugin.seal, body, associated=associated, key=key, nonce=nonce
        )
        return self._checked(made, len(body) + self.overhead_bytes)

    def open(self, sealed: Buffer, *, associated: bytes, key: bytes) -> bytes:
        """Return the body that was sealed.

        Raises:
            RemoteProtocolError: It was sealed otherwise.
            PluginError: The plug-in failed.
        """
        made = self._guard.call(self._plugin.open, sealed, associated=associated, key=key)
        return self._checked(made, len(sealed) - self.overhead_bytes)

    def _checked(self, made: object, wanted_bytes: int) -> bytes:
        if not isinstance(made, bytes) or len(made) != wanted_bytes:
            reason = f"did not make the {wanted_bytes} bytes that it promises"
            raise PluginError(plugin=self._shown, reason=reason)
        return made


class Ciphers:
    """Ciphers by name and by id; plug-ins are loaded when they are first asked for.

    Args:
        call_s: How long a call of a plug-in may take.
    """

    def __init__(self, *, call_s: float = CALL_S) -> None:
        self._call_s = call_s
        self._by_id: dict[int, Cipher] = {}
        self._has_loaded = False

    def known_ids(self) -> tuple[int, ...]:
        """Return what a host tells that it can open."""
        self._load_plugins()
        return tuple(sorted({USUAL_ID, *self._by_id}))

    def by_id(self, cipher_id: int) -> Cipher:
        """Return the cipher that a header names.

        Raises:
            PluginError: It is not known here.
        """
        if cipher_id == USUAL_ID:
            return self._usual()
        self._load_plugins()
        if (cipher := self._by_id.get(cipher_id)) is None:
            reason = f"is not installed here; the content needs it (entry point {GROUP})"
            raise PluginError(plugin=f"cipher {cipher_id}", reason=reason)
        return cipher

    def by_name(self, name: str) -> Cipher:
        """Return the cipher that a setting names.

        Raises:
            PluginError: It is not known here, or cannot be used.
        """
        if name == USUAL_NAME:
            return self._usual()
        for plugin in find_plugins(GROUP):
            if plugin.name == name:
                return self._add(plugin)
        reason = f"is not installed here (entry point {GROUP})"
        raise PluginError(plugin=f"cipher {name}", reason=reason)

    def _usual(self) -> Cipher:
        # 15 ms that who reads nothing encrypted need not pay
        from damselfly.wire.ciphers.aes256gcm import Aes256Gcm  # noqa: PLC0415

        return self._by_id.setdefault(USUAL_ID, Aes256Gcm())

    def _load_plugins(self) -> None:
        if self._has_loaded:
            return
        self._has_loaded = True
        for plugin in find_plugins(GROUP):
            if plugin.name == USUAL_NAME:
                continue
            try:
                self._add(plugin)
            except DamselflyError as exc:
                log.error("plugin_refused", reason=str(exc))  # noqa: TRY400  # one line

    def _add(self, plugin: EntryPoint) -> Cipher:
        kind = load_plugin("cipher", plugin)
        guard = Guard(f"cipher {plugin.name}", call_s=self._call_s)
        made = GuardedCipher(plugin.name, guard.call(kind), guard)
        known = self._by_id.setdefault(made.cipher_id, made)
        if known.name != made.name:
            reason = f"has the id {made.cipher_id} of {known.name}"
            raise PluginError(plugin=f"cipher {plugin.name}", reason=reason)
        return known
