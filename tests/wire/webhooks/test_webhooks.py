"""Guards what webhooks mean: pushes become values, all else does nothing, and says so."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from damselfly.errors import RemoteProtocolError
from damselfly.wire.manifests import OCI_INDEX, OCI_MANIFEST
from damselfly.wire.webhooks.distribution import parse_distribution, parse_kraken
from damselfly.wire.webhooks.harbor import parse_harbor
from damselfly.wire.webhooks.others import parse_docker_hub, parse_generic, parse_quay
from damselfly.wire.webhooks.pushes import (
    BODY_BYTES_MAX,
    EVENTS_MAX,
    Push,
    Webhook,
    parse_time,
)

LAYER, MANIFEST = "sha256:" + "a" * 64, "sha256:" + "b" * 64
REGISTRY = "http://127.0.0.1:5000"
BLOB_URL = f"{REGISTRY}/v2/lib/small/blobs/{LAYER}"
MANIFEST_URL = f"{REGISTRY}/v2/lib/small/manifests/{MANIFEST}"
WHEN = "2026-11-23T19:08:48.820801596Z"
WHEN_S = 1795460928.820801596


def parsed(parse: Callable[[bytes], Webhook], value: object) -> Webhook:
    return parse(json.dumps(value).encode())


def an_event(**target: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return an event as docker-registry 2.8.2 sent it."""
    usual = {
        "mediaType": "application/octet-stream",
        "size": 8202,
        "length": 8202,
        "repository": "lib/small",
        "digest": LAYER,
        "url": BLOB_URL,
    }
    return {
        "id": "2ec6ed78",
        "timestamp": WHEN,
        "action": "push",
        "target": {**usual, **target},
        "request": {"id": "9ade", "addr": "127.0.0.1:1", "host": "r.example:5000"},
        "actor": {},
        "source": {"addr": "vm:5000", "instanceID": "a6db2c90"},
    }


def test_each_layer_is_a_push_of_its_own() -> None:
    told = parsed(parse_distribution, {"events": [an_event()]})

    assert told == Webhook([Push(event_id="2ec6ed78", told_s=WHEN_S, url=BLOB_URL, digest=LAYER)])


def test_manifest_with_a_tag_is_an_image_and_one_without_is_alone() -> None:
    tagged = an_event(mediaType=OCI_INDEX, digest=MANIFEST, url=MANIFEST_URL, tag="v1")
    alone = an_event(mediaType=OCI_MANIFEST, digest=MANIFEST, url=MANIFEST_URL)
    odd = an_event(mediaType="a/b", digest=MANIFEST, url=MANIFEST_URL)

    image, manifest, other = parsed(parse_distribution, {"events": [tagged, alone, odd]}).pushes

    assert (image.image, image.url) == (MANIFEST_URL, "")
    assert (manifest.url, manifest.accept) == (MANIFEST_URL, OCI_MANIFEST)
    assert (other.url, other.accept) == (MANIFEST_URL, "")


def test_event_without_url_is_about_the_host_that_was_pushed_to() -> None:
    blob, manifest = parsed(
        parse_distribution, {"events": [an_event(url=""), an_event(url="", mediaType=OCI_MANIFEST)]}
    ).pushes

    assert blob.url == f"https://r.example:5000/v2/lib/small/blobs/{LAYER}"
    assert manifest.url == f"https://r.example:5000/v2/lib/small/manifests/{LAYER}"


def test_mount_is_a_push_and_pulls_do_nothing() -> None:
    events = [{**an_event(), "action": action} for action in ("mount", "pull", "delete", "", "\0")]

    told = parsed(parse_distribution, {"events": events})

    assert len(told.pushes) == 1
    assert told.ignored == [
        "pull",
        "delete",
        "an event without action",
        "\N{REPLACEMENT CHARACTER}",
    ]


@pytest.mark.parametrize(
    "event",
    [
        an_event(digest="x"),
        an_event(url="ftp://x"),
        an_event(url=REGISTRY + "/" + "x" * 3000),
        {**an_event(url=""), "request": None},
        {**an_event(), "id": "x" * 3000},
        an_event(mediaType=OCI_MANIFEST, url=f"{REGISTRY}/x", tag="v1"),
    ],
)
def test_event_that_names_no_content_is_refused(event: dict[str, Any]) -> None:
    with pytest.raises(RemoteProtocolError):
        parsed(parse_distribution, {"events": [event]})


def test_kraken_is_told_with_capitals() -> None:
    target = {
        "MediaType": OCI_MANIFEST,
        "Digest": MANIFEST,
        "Repository": "lib/small",
        "Url": f"{REGISTRY}/v2/lib/small/manifests/v1",
        "Tag": "v1",
    }
    event = {"Id": "1", "TimeStamp": WHEN, "Action": "push", "Target": target, "Request": None}

    (push,) = parsed(parse_kraken, {"Events": [{**event, "Actor": None}]}).pushes

    assert push == Push(event_id="1", image=target["Url"], digest=MANIFEST)


def harbor(**more: Any) -> dict[str, Any]:  # noqa: ANN401
    resource = {"digest": MANIFEST, "tag": "v1", "resource_url": "h.example/lib/app:v1"}
    return {
        "type": "PUSH_ARTIFACT",
        "occur_at": 1795460928,
        "operator": "admin",
        "event_data": {
            "resources": [resource],
            "repository": {"name": "app", "repo_full_name": "lib/app", "repo_type": "private"},
        },
        **more,
    }


def test_harbor_names_images_by_their_digest() -> None:
    body = json.dumps(harbor()).encode()

    (push,) = parse_harbor(body).pushes

    assert push.image == f"h.example/lib/app@{MANIFEST}"
    assert push.told_s == 1795460928
    assert parse_harbor(body).pushes == [push]
    assert parsed(parse_harbor, harbor(occur_at=5)).pushes[0].event_id != push.event_id


def test_cloud_events_have_ids() -> None:
    event = {
        "specversion": "1.0",
        "id": "7",
        "source": "/projects/1/webhook/policies/2",
        "type": "harbor.artifact.pushed",
        "datacontenttype": "application/json",
        "time": "2026-11-23T20:08:48+01:00",
        "data": {"resources": [{"resource_url": f"h.example/lib/app@{MANIFEST}", "digest": "x"}]},
    }

    (push,) = parsed(parse_harbor, event).pushes

    assert push.event_id == "/projects/1/webhook/policies/2 7 0"
    assert push.told_s == 1795460928
    assert push.image == f"h.example/lib/app@{MANIFEST}"


def test_other_events_of_harbor_do_nothing() -> None:
    assert parsed(parse_harbor, harbor(type="SCANNING_FAILED")).ignored == ["SCANNING_FAILED"]
    assert parsed(parse_harbor, harbor(type="")).ignored == ["an event without type"]


@pytest.mark.parametrize(
    "more",
    [
        {"event_data": None},
        {"event_data": {"resources": []}},
        {"event_data": {"resources": [{"resource_url": "h.example/a b"}]}},
        {"event_data": {"resources": [{"resource_url": "h.example/a:b"}] * (EVENTS_MAX + 1)}},
        {"id": "x" * 3000},
        {"occur_at": "yesterday"},
    ],
)
def test_push_event_of_harbor_that_names_nothing_is_refused(more: dict[str, Any]) -> None:
    with pytest.raises(RemoteProtocolError):
        parsed(parse_harbor, harbor(**more))


def test_quay_names_tags() -> None:
    event = {"repository": "ns/app", "docker_url": "quay.io/ns/app", "updated_tags": ["v1", "v2"]}

    told = parsed(parse_quay, event)

    assert [push.image for push in told.pushes] == ["quay.io/ns/app:v1", "quay.io/ns/app:v2"]
    assert [push.event_id for push in told.pushes] == ["", ""]
    assert parsed(parse_quay, {**event, "updated_tags": {"v3": MANIFEST}}).pushes[0].image == (
        "quay.io/ns/app:v3"
    )
    assert parsed(parse_quay, {**event, "updated_tags": []}).ignored == ["a push without tags"]


def test_docker_hub_names_a_tag() -> None:
    event = {
        "callback_url": "https://x",
        "push_data": {"pushed_at": 1417566161, "pusher": "x", "tag": "latest"},
        "repository": {"repo_name": "org/app", "status": "Active"},
    }

    (push,) = parsed(parse_docker_hub, event).pushes

    assert (push.image, push.told_s) == ("docker.io/org/app:latest", 1417566161)
    assert push.event_id


def test_anybody_may_name_images_and_urls() -> None:
    told = parsed(
        parse_generic, {"images": ["a/b"], "urls": ["HTTP://x/y"], "id": "1", "time": WHEN}
    )

    assert told.pushes == [
        Push(event_id="1 0", told_s=WHEN_S, image="docker.io/a/b:latest"),
        Push(event_id="1 1", told_s=WHEN_S, url="http://x/y"),
    ]
    assert parsed(parse_generic, {"images": ["a"]}).pushes[0].event_id == ""


@pytest.mark.parametrize(
    ("parse", "event"),
    [
        (parse_quay, {"docker_url": "quay.io/a b", "updated_tags": ["x"]}),
        (parse_quay, {"docker_url": "quay.io/a", "updated_tags": ["x"] * (EVENTS_MAX + 1)}),
        (parse_docker_hub, {"push_data": {}}),
        (parse_generic, {}),
        (parse_generic, {"images": ["a b"]}),
        (parse_generic, {"urls": ["x"]}),
        (parse_generic, {"urls": ["http://x"], "id": "x" * 3000}),
        (parse_distribution, {"events": [an_event()] * (EVENTS_MAX + 1)}),
        (parse_distribution, {"events": 5}),
        (parse_kraken, []),
    ],
)
def test_body_that_is_something_else_is_refused(
    parse: Callable[[bytes], Webhook], event: object
) -> None:
    with pytest.raises(RemoteProtocolError):
        parsed(parse, event)


def test_body_beyond_the_limit_is_refused_unread() -> None:
    with pytest.raises(RemoteProtocolError, match="more than"):
        parse_generic(bytes(BODY_BYTES_MAX + 1))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:00:00Z", 0.0),
        ("1970-01-01 00:00:00.5z", 0.5),
        ("1970-01-01T02:30:00+02:30", 0.0),
        ("1969-12-31T22:00:00-0200", 0.0),
        ("yesterday", None),
        ("1970-13-01T00:00:00Z", None),
        ("0000-01-01T00:00:00Z", None),
    ],
)
def test_time_is_read_as_rfc_3339_has_it(text: str, seconds: float | None) -> None:
    assert parse_time(text) == seconds
