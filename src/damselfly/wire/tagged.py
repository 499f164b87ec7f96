"""MessagePack messages that name their own kind.

A message is one MessagePack map; `kind` names it and the other keys are its fields. What is
sent at one moment may travel together, as an array of such maps: each frame on its own costs
the sender and the reader more than what is in it.

Fields that a reader does not know are ignored, so that messages can grow; a kind that it
does not know is refused, since ignoring it could break a promise.
"""

from collections.abc import Sequence
from typing import Any, Generic, TypeVar

import msgspec

from damselfly.errors import RemoteProtocolError
from damselfly.wire.json_values import UNREADABLE

M = TypeVar("M")
R = TypeVar("R")

MESSAGE_BYTES_MAX = 4 << 20  # a block list of 100,000 blocks has 3.2 MB


class Message(msgspec.Struct, kw_only=True, frozen=True, tag_field="kind", omit_defaults=True):
    """What all messages share."""


class Codec(Generic[M]):
    """Encoder and decoder of one family of messages."""

    def __init__(self, family: Any) -> None:  # noqa: ANN401  # a union of classes
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder: msgspec.msgpack.Decoder[M] = msgspec.msgpack.Decoder(family)
        self._several: msgspec.msgpack.Decoder[list[M]] = msgspec.msgpack.Decoder(list[family])

    def encode(self, message: M) -> bytes:
        """Return a message as bytes."""
        return self._encoder.encode(message)

    def decode(self, data: bytes | bytearray | memoryview) -> M:
        """Return the message in `data`.

        Raises:
            RemoteProtocolError: It is none of the family, or has a field of a wrong type.
        """
        return self._decode(data, self._decoder)

    def decode_all(self, data: bytes | bytearray | memoryview) -> list[M]:
        """Return the messages in `data`, in order: those of an array, or the one alone.

        Raises:
            RemoteProtocolError: As by `decode`.
        """
        if data and _is_array(data[0]):
            return self._decode(data, self._several)
        return [self._decode(data, self._decoder)]

    @staticmethod
    def together(messages: Sequence[bytes]) -> bytes:
        """Return encoded messages as one array of them."""
        count = len(messages)
        head = bytes((0x90 | count,)) if count < 16 else b"\xdc" + count.to_bytes(2, "big")  # noqa: PLR2004
        return head + b"".join(messages)

    @staticmethod
    def _decode(data: bytes | bytearray | memoryview, decoder: msgspec.msgpack.Decoder[R]) -> R:
        if len(data) > MESSAGE_BYTES_MAX:
            msg = f"a message of {len(data)} bytes; at most {MESSAGE_BYTES_MAX} are allowed"
            raise RemoteProtocolError(msg)
        try:
            return decoder.decode(data)
        except UNREADABLE as exc:
            msg = f"a message that cannot be read: {exc}"
            raise RemoteProtocolError(msg) from exc


def _is_array(first_byte: int) -> bool:
    """Whether a MessagePack value is an array: its first byte says so."""
    return first_byte & 0xF0 == 0x90 or first_byte in (0xDC, 0xDD)  # noqa: PLR2004
