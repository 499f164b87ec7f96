"""Where the keys live that wrap data keys: plug-ins by the entry point `damselfly.keys`."""

from dataclasses import dataclass, field
from typing import Final, Protocol

from damselfly.errors import PluginError
from damselfly.services.plugins import CALL_S, Guard, find_plugins, load_plugin

GROUP: Final = "damselfly.keys"


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """A data key as it lies at rest.

    Attributes:
        key_name: The provider's key that unwraps it.
        wrapped: The data key, encrypted by that.
    """

    key_name: str
    wrapped: bytes = field(repr=False)


class KeyProvider(Protocol):
    """Wraps data keys with keys that it alone holds.

    A plug-in is called with what the setting `keys` says and returns one. Its methods may
    wait, for a service in the network, and are called in threads.
    """

    def wrap(self, secret: bytes, *, context: bytes) -> WrappedKey:
        """Return a data key encrypted with the current key.

        Args:
            secret: The data key.
            context: Says what it is the key of; must be the same to unwrap it.

        Raises:
            KeyUnavailableError: There is no current key.
        """

    def unwrap(self, key: WrappedKey, *, context: bytes) -> bytes:
        """Return a data key that was wrapped.

        Raises:
            KeyUnavailableError: The key that wrapped it is not there any more, or it was not
                wrapped by that for this context.
        """


class GuardedProvider:
    """A key provider of a plug-in, called with a limit in time; see `KeyProvider`."""

    def __init__(self, name: str, keys: str, *, call_s: float = CALL_S) -> None:
        plugin = next((each for each in find_plugins(GROUP) if each.name == name), None)
        shown = f"key provider {name}"
        if plugin is None:
            reason = f"is not installed here (entry point {GROUP})"
            raise PluginError(plugin=shown, reason=reason)
        self._guard = Guard(shown, call_s=call_s)
        self._provider: KeyProvider = self._guard.call(load_plugin("key provider", plugin), keys)
        self._shown = shown

    def wrap(self, secret: bytes, *, context: bytes) -> WrappedKey:
        """Return a data key encrypted with the current key."""
        made: object = self._guard.call(self._provider.wrap, secret, context=context)
        if not isinstance(made, WrappedKey) or secret in made.wrapped:
            raise PluginError(plugin=self._shown, reason="did not wrap a data key")
        return made

    def unwrap(self, key: WrappedKey, *, context: bytes) -> bytes:
        """Return a data key that was wrapped."""
        made: object = self._guard.call(self._provider.unwrap, key, context=context)
        if not isinstance(made, bytes):
            raise PluginError(plugin=self._shown, reason="did not unwrap a data key")
        return made
