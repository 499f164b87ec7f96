"""MessagePack messages that name their own kind.

A message is one MessagePack map; `kind` names it and the other keys are its fields.
Fields that a reader does not know are ignored, so that messages can grow; a kind that it
does not know is refused, since ignoring it could break a promise.
"""

from typing import Any, Generic, TypeVar

import msgspec

from damselfly.errors import RemoteProtocolError

M = TypeVar("M")

MESSAGE_BYTES_MAX = 4 << 20  # a block list of 100,000 blocks has 3.2 MB


class Message(msgspec.Struct, kw_only=True, frozen=True, tag_field="kind", omit_defaults=True):
    """What all messages share."""


class Codec(Generic[M]):
    """Encoder and decoder of one family of messages."""

    def __init__(self, family: Any) -> None:  # noqa: ANN401  # a union of classes
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder: msgspec.msgpack.Decoder[M] = msgspec.msgpack.Decoder(family)

    def encode(self, message: M) -> bytes:
        """Return a message as bytes."""
        return self._encoder.encode(message)

    def decode(self, data: bytes | bytearray | memoryview) -> M:
        """Return the message in `data`.

        Raises:
            RemoteProtocolError: It is none of the family, or has a field of a wrong type.
        """
        if len(data) > MESSAGE_BYTES_MAX:
            msg = f"a message of {len(data)} bytes; at most {MESSAGE_BYTES_MAX} are allowed"
            raise RemoteProtocolError(msg)
        try:
            return self._decoder.decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
            msg = f"a message that cannot be read: {exc}"
            raise RemoteProtocolError(msg) from exc
