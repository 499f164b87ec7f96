"""The codecs of this process: those that come with damselfly, and those of plug-ins.

A host whose Python lacks zstd has none of ours, and gets plain blocks.
"""

from importlib.metadata import EntryPoint
from typing import Final

from damselfly.errors import DamselflyError, PluginError
from damselfly.services.plugins import CALL_S, Guard, find_plugins, load_plugin
from damselfly.telemetry.log import get_log
from damselfly.wire.codecs.codec import CODEC_ID_MAX, BlockCodec, Buffer

GROUP: Final = "damselfly.codecs"
OURS: Final = ("zstd", "zstd-planes-2", "zstd-planes-4")

log = get_log()


class GuardedCodec:
    """A codec of a plug-in, held to its promises; see `BlockCodec`.

    Attributes:
        codec_id, name, levels: As the plug-in has them.
    """

    def __init__(self, name: str, plugin: BlockCodec, guard: Guard) -> None:
        self._plugin = plugin
        self._guard = guard
        self._shown = f"codec {name}"
        try:
            self.codec_id = int(plugin.codec_id)
            self.name = name
            self.levels = tuple(int(level) for level in plugin.levels)
        except (AttributeError, TypeError, ValueError) as exc:
            raise PluginError(plugin=self._shown, reason=f"is no codec: {exc}") from exc
        if not 0 < self.codec_id <= CODEC_ID_MAX or not self.levels:
            raise PluginError(plugin=self._shown, reason="has an id or levels that cannot be")

    def encode(self, plain: Buffer, *, level: int) -> bytes:
        """Return a block compressed.

        Raises:
            PluginError: The plug-in failed.
        """
        made = self._guard.call(self._plugin.encode, plain, level=level)
        return _checked_bytes(self._shown, made)

    def decode(self, body: Buffer, *, plain_bytes: int) -> bytes | bytearray:
        """Return the block in a body.

        Raises:
            RemoteProtocolError: It is none.
            PluginError: The plug-in failed.
        """
        made = _checked_bytes(
            self._shown, self._guard.call(self._plugin.decode, body, plain_bytes=plain_bytes)
        )
        if len(made) != plain_bytes:
            reason = f"did not make the {plain_bytes} bytes that it promises"
            raise PluginError(plugin=self._shown, reason=reason)
        return made


def _checked_bytes(plugin: str, made: object) -> bytes:
    if not isinstance(made, bytes | bytearray):
        raise PluginError(plugin=plugin, reason="did not make bytes")
    return bytes(made)


def load_codecs(*, call_s: float = CALL_S) -> dict[int, BlockCodec]:
    """Return all codecs that can be used here, by id; what is wrong with others is logged.

    Args:
        call_s: How long a call of a plug-in may take.
    """
    codecs: dict[int, BlockCodec] = {}
    try:
        from damselfly.wire.codecs import byte_planes, zstd  # noqa: PLC0415  # zstd may be missing
    except ImportError as exc:
        log.warning("codecs_missing", reason=str(exc))
    else:
        for codec in (
            zstd.ZstdCodec(),
            byte_planes.two_byte_planes(),
            byte_planes.four_byte_planes(),
        ):
            codecs[codec.codec_id] = codec
    for plugin in find_plugins(GROUP):
        if plugin.name not in OURS:
            try:
                _add(codecs, plugin, call_s)
            except DamselflyError as exc:
                log.error("plugin_refused", reason=str(exc))  # noqa: TRY400  # one line
    return codecs


def _add(codecs: dict[int, BlockCodec], plugin: EntryPoint, call_s: float) -> None:
    kind = load_plugin("codec", plugin)
    guard = Guard(f"codec {plugin.name}", call_s=call_s)
    made = GuardedCodec(plugin.name, guard.call(kind), guard)
    known = codecs.setdefault(made.codec_id, made)
    if known is not made:
        reason = f"has the id {made.codec_id} of {known.name}"
        raise PluginError(plugin=f"codec {plugin.name}", reason=reason)
