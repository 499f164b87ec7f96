"""Webhooks of Quay and Docker Hub, which name tags, and one for everybody else."""

import msgspec

from damselfly.core.urls import WEB, normalise_url
from damselfly.errors import RemoteProtocolError, UsageError
from damselfly.wire.webhooks.pushes import (
    EVENTS_MAX,
    TEXT_CHARS_MAX,
    Push,
    Webhook,
    decode,
    id_of,
    image_named,
    parse_time,
)


class _Quay(msgspec.Struct):
    docker_url: str
    updated_tags: list[str] | dict[str, str]


class _HubPush(msgspec.Struct):
    tag: str
    pushed_at: float | None = None


class _HubRepository(msgspec.Struct):
    repo_name: str


class _Hub(msgspec.Struct):
    push_data: _HubPush
    repository: _HubRepository


class _Generic(msgspec.Struct):
    images: list[str] = msgspec.field(default_factory=list)
    urls: list[str] = msgspec.field(default_factory=list)
    id: str = ""
    time: str = ""


def parse_quay(body: bytes) -> Webhook:
    """Return what a `repo_push` of Quay tells; it has neither id nor time.

    Raises:
        RemoteProtocolError: It is none.
    """
    told = decode(body, _Quay)
    webhook = Webhook()
    for tag in _few(list(told.updated_tags)):
        webhook.pushes.append(Push(image=image_named(f"{told.docker_url}:{tag}")))
    if not webhook.pushes:
        webhook.ignored.append("a push without tags")
    return webhook


def parse_docker_hub(body: bytes) -> Webhook:
    """Return what a webhook of Docker Hub tells.

    Raises:
        RemoteProtocolError: It is none.
    """
    told = decode(body, _Hub)
    image = image_named(f"docker.io/{told.repository.repo_name}:{told.push_data.tag}")
    return Webhook([Push(event_id=id_of(body), told_s=told.push_data.pushed_at, image=image)])


def parse_generic(body: bytes) -> Webhook:
    """Return what `{"images": […], "urls": […], "id": …, "time": …}` tells.

    Raises:
        RemoteProtocolError: It is something else, or names nothing.
    """
    told = decode(body, _Generic)
    if not told.images and not told.urls:
        raise RemoteProtocolError("an event that names neither images nor urls")
    if len(told.id) > TEXT_CHARS_MAX:
        raise RemoteProtocolError("an event with too long an id")
    names = [Push(image=image_named(each)) for each in _few(told.images)]
    try:
        names += [Push(url=normalise_url(each, schemes=WEB)) for each in _few(told.urls)]
    except UsageError as exc:
        raise RemoteProtocolError(f"an event that names no URL: {exc}") from exc
    return Webhook(
        [
            Push(
                event_id=f"{told.id} {number}" if told.id else "",
                told_s=parse_time(told.time),
                image=each.image,
                url=each.url,
            )
            for number, each in enumerate(names)
        ]
    )


def _few(names: list[str]) -> list[str]:
    if len(names) > EVENTS_MAX:
        raise RemoteProtocolError(f"{len(names)} names at once; {EVENTS_MAX} are allowed")
    return names
