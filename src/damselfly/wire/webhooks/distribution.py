"""Notifications of CNCF Distribution (docker-registry), and Harbor's Kraken driver.

Each layer has an event of its own, before its manifest has one. Kraken's has the same fields
with capital letters.

Source: distribution's documentation of notifications; Harbor,
src/pkg/p2p/preheat/provider/kraken.go.
"""

import msgspec

from damselfly.core.digest import Digest
from damselfly.core.urls import WEB, normalise_url
from damselfly.errors import RegistryPathError, RemoteProtocolError, TaskSpecError
from damselfly.wire.image_names import is_manifest_url
from damselfly.wire.manifest_children import MANIFEST_TYPES
from damselfly.wire.registry_paths import parse_registry_name
from damselfly.wire.webhooks.pushes import (
    EVENTS_MAX,
    TEXT_CHARS_MAX,
    Push,
    Webhook,
    decode,
    image_named,
    parse_time,
    shown,
)

PUSHES = ("push", "mount")  # a mounted layer was pushed to another repository


class _Target(msgspec.Struct):
    mediaType: str = ""  # noqa: N815  # the field's name
    digest: str = ""
    repository: str = ""
    url: str = ""
    tag: str = ""


class _Request(msgspec.Struct):
    host: str = ""


class _Event(msgspec.Struct):
    id: str = ""
    timestamp: str = ""
    action: str = ""
    target: _Target = msgspec.field(default_factory=_Target)
    request: _Request | None = None


class _Notification(msgspec.Struct):
    events: list[_Event]


class _CapitalTarget(msgspec.Struct, rename="pascal"):
    media_type: str = ""
    digest: str = ""
    repository: str = ""
    url: str = ""
    tag: str = ""


class _CapitalEvent(msgspec.Struct, rename="pascal"):
    id: str = ""
    action: str = ""
    target: _CapitalTarget = msgspec.field(default_factory=_CapitalTarget)


class _CapitalNotification(msgspec.Struct, rename="pascal"):
    events: list[_CapitalEvent]


def parse_distribution(body: bytes) -> Webhook:
    """Return what a notification tells.

    Raises:
        RemoteProtocolError: It is none.
    """
    return _parsed(decode(body, _Notification).events)


def parse_kraken(body: bytes) -> Webhook:
    """Return what Harbor tells a Kraken.

    Raises:
        RemoteProtocolError: It is no such notification.
    """
    told = decode(body, _CapitalNotification).events
    # No time: Harbor writes it in more than one way, and its ids are new each time.
    return _parsed([_Event(id=e.id, action=e.action, target=_small(e.target)) for e in told])


def _small(told: _CapitalTarget) -> _Target:
    return _Target(
        mediaType=told.media_type,
        digest=told.digest,
        repository=told.repository,
        url=told.url,
        tag=told.tag,
    )


def _parsed(events: list[_Event]) -> Webhook:
    if len(events) > EVENTS_MAX:
        raise RemoteProtocolError(f"{len(events)} events at once; {EVENTS_MAX} are allowed")
    webhook = Webhook()
    for event in events:
        if event.action in PUSHES:
            webhook.pushes.append(_push(event))
        else:
            webhook.ignored.append(shown(event.action) or "an event without action")
    return webhook


def _push(event: _Event) -> Push:
    target = event.target
    try:
        digest = str(Digest.parse(target.digest))
        url = normalise_url(target.url or _url(event, digest), schemes=WEB)
    except TaskSpecError as exc:
        raise RemoteProtocolError(f"an event that names no content: {exc}") from exc
    if max(len(event.id), len(url)) > TEXT_CHARS_MAX:
        raise RemoteProtocolError("an event with too long a text")
    told_s = parse_time(event.timestamp)
    if not (is_manifest_url(url) or target.mediaType in MANIFEST_TYPES):
        return Push(event_id=event.id, told_s=told_s, url=url, digest=digest)
    if not target.tag:  # of a platform: its index comes when all of them are there
        accept = target.mediaType if target.mediaType in MANIFEST_TYPES else ""
        return Push(event_id=event.id, told_s=told_s, url=url, digest=digest, accept=accept)
    image_named(url)
    return Push(event_id=event.id, told_s=told_s, image=url, digest=digest)


def _url(event: _Event, digest: str) -> str:
    """Return where a content is whose event does not say: at the host that was pushed to."""
    host = event.request.host if event.request else ""
    try:
        host = parse_registry_name(host)
    except RegistryPathError as exc:
        raise RemoteProtocolError("an event without URL and host") from exc
    kind = "manifests" if event.target.mediaType in MANIFEST_TYPES else "blobs"
    return f"https://{host}/v2/{event.target.repository}/{kind}/{digest}"
