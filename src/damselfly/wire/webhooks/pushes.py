"""What all senders tell in the end: something was pushed."""

import calendar
import hashlib
import re
from dataclasses import dataclass, field
from typing import Final, TypeVar

import msgspec

from damselfly.errors import RemoteProtocolError, UsageError
from damselfly.wire.image_names import parse_image_name
from damselfly.wire.json_values import decoded

BODY_BYTES_MAX: Final = 1 << 20  # a manifest event with 1,000 references has 200 KB
EVENTS_MAX: Final = 1000
TEXT_CHARS_MAX: Final = 2048

T = TypeVar("T")

_TIME: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(\.\d+)?(?:[Zz]|([+-])(\d\d):?(\d\d))"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """Something that was pushed.

    Attributes:
        event_id: Tells it from all others; empty: the sender has no such thing.
        told_s: When it happened, in seconds since 1970; None: the sender does not say.
        image: The image, as its name or the URL of its manifest; empty: it is none.
        url: Where a blob, or a manifest alone, is; empty: it is an image.
        digest: Of what is at the URL.
        accept: Its media type, if it is a manifest.
    """

    event_id: str = ""
    told_s: float | None = None
    image: str = ""
    url: str = ""
    digest: str = ""
    accept: str = ""


@dataclass(slots=True)
class Webhook:
    """What one request told.

    Attributes:
        pushes: What is to be done.
        ignored: Of what else it spoke.
    """

    pushes: list[Push] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)


def decode(body: bytes, kind: type[T]) -> T:
    """Return what a body says.

    Raises:
        RemoteProtocolError: It is too long, no JSON, or something else.
    """
    if len(body) > BODY_BYTES_MAX:
        raise RemoteProtocolError(f"a body of more than {BODY_BYTES_MAX} bytes")
    return decoded(body, msgspec.json.Decoder(kind), what="a body that cannot be read")


def parse_time(text: str) -> float | None:
    """Return seconds since 1970 of an RFC 3339 time; None if it is none."""
    match = _TIME.fullmatch(text)
    if not match:
        return None
    fields = [int(each) for each in match.groups()[:6]]
    if not (1 <= fields[1] <= 12 and 1 <= fields[2] <= 31):  # noqa: PLR2004  # months and days
        return None
    try:
        seconds = float(calendar.timegm((*fields, 0, 0, 0)))
    except ValueError:
        return None
    offset = 60 * (60 * int(match[9] or 0) + int(match[10] or 0))
    return seconds + float(match[7] or 0) - (offset if match[8] != "-" else -offset)


def id_of(body: bytes) -> str:
    """Return a name for an event whose sender gives it none: that of all that it says."""
    return hashlib.sha256(body).hexdigest()[:32]


def shown(text: str) -> str:
    """Return a text from outside as an answer may show it."""
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)[
        :80
    ]


def image_named(text: str) -> str:
    """Return the image that a text names, in the one form that is compared.

    Raises:
        RemoteProtocolError: It names none.
    """
    try:
        return str(parse_image_name(text))
    except UsageError as exc:
        raise RemoteProtocolError(f"an event that names no image: {shown(text)}") from exc
