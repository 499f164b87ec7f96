"""Plug-ins: code of somebody else, found by entry point, called with a limit in time.

What a plug-in raises or does not return in time becomes one `PluginError` that names it. A
call that hangs cannot be ended, so its thread is left behind, and the plug-in is not called
again in this process: a swarm that goes on would leave a thread per block otherwise.
"""

import functools
import queue
import sys
import threading
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final, TypeVar

from damselfly.errors import DamselflyError, PluginError
from damselfly.telemetry.log import get_log

T = TypeVar("T")

CALL_S: Final = 10.0  # the longest block takes a hundredth of it, a key service a second

log = get_log()


@functools.lru_cache(maxsize=1)
def _installed(path: tuple[str, ...]) -> Any:  # noqa: ANN401, ARG001  # named otherwise in 3.12; another path has others
    """Return all that is installed; to look takes 20 ms, and each kind of plug-in asks."""
    return entry_points()


def find_plugins(group: str) -> list[EntryPoint]:
    """Return the plug-ins of a kind that are installed, by name, the first of each name."""
    found: dict[str, EntryPoint] = {}
    for each in _installed(tuple(sys.path)).select(group=group):
        found.setdefault(each.name, each)
    return [found[name] for name in sorted(found)]


def load_plugin(kind: str, plugin: EntryPoint) -> Any:  # noqa: ANN401  # whatever it stands for
    """Return what an entry point stands for.

    Raises:
        PluginError: It cannot be imported.
    """
    try:
        return plugin.load()
    except Exception as exc:
        reason = f"cannot be loaded: {_words(exc)}"
        raise PluginError(plugin=f"{kind} {plugin.name}", reason=reason) from exc


class Guard:
    """Calls one plug-in.

    Args:
        plugin: What messages call it, such as `cipher rot13`.
        call_s: How long a call may take.
    """

    def __init__(self, plugin: str, *, call_s: float = CALL_S) -> None:
        self._plugin = plugin
        self._call_s = call_s
        self._is_hung = False

    def call(self, function: Callable[..., T], *args: object, **kwargs: object) -> T:
        """Return what a function of the plug-in returns; waits, so call it in a thread.

        Raises:
            PluginError: It raised what is no error of ours, or did not return in time.
            DamselflyError: What it raised, being one of ours.
        """
        if self._is_hung:
            reason = "hung before and is not called again; restart without it"
            raise PluginError(plugin=self._plugin, reason=reason)
        outcome: queue.SimpleQueue[tuple[T | None, BaseException | None]] = queue.SimpleQueue()

        def run() -> None:
            try:
                outcome.put((function(*args, **kwargs), None))
            except BaseException as exc:  # noqa: BLE001  # raised again where it was called
                outcome.put((None, exc))

        threading.Thread(target=run, name=self._plugin, daemon=True).start()
        try:
            value, exc = outcome.get(timeout=self._call_s)
        except queue.Empty:
            self._is_hung = True
            log.warning("plugin_hung", plugin=self._plugin, seconds=self._call_s)
            reason = f"did not answer within {self._call_s:g} s"
            raise PluginError(plugin=self._plugin, reason=reason) from None
        if isinstance(exc, DamselflyError):
            raise exc
        if exc is not None:
            log.warning("plugin_broke", plugin=self._plugin, reason=_words(exc))
            raise PluginError(plugin=self._plugin, reason=f"failed: {_words(exc)}") from exc
        return value  # type: ignore[return-value]  # None only if it is what was returned


def _words(exc: BaseException) -> str:
    return f"{type(exc).__name__}: {exc}".removesuffix(": ")
