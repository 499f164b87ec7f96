"""JSON that others sent, as values: what cannot be read is one error, whatever is wrong with it."""

from typing import Final, TypeVar

import msgspec

from damselfly.errors import RemoteProtocolError

T = TypeVar("T")

# Not all of them are errors of the library: bytes that are no text, and brackets without end.
UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def decoded(data: bytes, decoder: msgspec.json.Decoder[T], *, what: str) -> T:
    """Return the value in bytes.

    Raises:
        RemoteProtocolError: They cannot be read as one; begins with `what`.
    """
    try:
        return decoder.decode(data)
    except UNREADABLE as exc:
        raise RemoteProtocolError(f"{what}: {exc}") from exc
