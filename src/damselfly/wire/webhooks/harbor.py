"""Harbor's webhooks: its default form, and CloudEvents.

Source: Harbor's documentation of webhook notifications.
"""

import msgspec

from damselfly.errors import RemoteProtocolError
from damselfly.wire.webhooks.pushes import (
    EVENTS_MAX,
    TEXT_CHARS_MAX,
    Push,
    Webhook,
    decode,
    id_of,
    image_named,
    parse_time,
    shown,
)

PUSHES = ("PUSH_ARTIFACT", "pushImage", "harbor.artifact.pushed")


class _Resource(msgspec.Struct):
    digest: str = ""
    resource_url: str = ""


class _EventData(msgspec.Struct):
    resources: list[_Resource] = msgspec.field(default_factory=list)


class _Webhook(msgspec.Struct):
    """Both forms: the default one has `occur_at` and `event_data`, the other `time` and `data`."""

    type: str
    occur_at: float | None = None
    event_data: _EventData | None = None
    specversion: str = ""
    id: str = ""
    source: str = ""
    time: str = ""
    data: _EventData | None = None


def parse_harbor(body: bytes) -> Webhook:
    """Return what a webhook of Harbor tells.

    Raises:
        RemoteProtocolError: It is none.
    """
    told = decode(body, _Webhook)
    webhook = Webhook()
    if told.type not in PUSHES:
        webhook.ignored.append(shown(told.type) or "an event without type")
        return webhook
    data = told.data if told.specversion else told.event_data
    resources = data.resources if data else []
    if not resources:
        raise RemoteProtocolError("a push event of Harbor without resources")
    if len(resources) > EVENTS_MAX:
        raise RemoteProtocolError(f"{len(resources)} resources; {EVENTS_MAX} are allowed")
    if len(told.id) + len(told.source) > TEXT_CHARS_MAX:
        raise RemoteProtocolError("an event with too long an id")
    event_id = f"{told.source} {told.id}" if told.id else id_of(body)
    told_s = parse_time(told.time) if told.specversion else told.occur_at
    for number, resource in enumerate(resources):
        image = _image(resource)
        webhook.pushes.append(Push(event_id=f"{event_id} {number}", told_s=told_s, image=image))
    return webhook


def _image(resource: _Resource) -> str:
    """Return the image that was pushed, by its digest: the tag may mean another one by now."""
    name = resource.resource_url
    if resource.digest and "@" not in name:
        head, _, last = name.rpartition("/")
        name = f"{head}/{last.partition(':')[0]}@{resource.digest}"
    return image_named(name)
