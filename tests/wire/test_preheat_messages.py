"""Guards the JSON of preheats, ours and Harbor's: fields, words, and no secrets."""

import json
from typing import Any

import msgspec
import pytest

from damselfly.core.preheating.jobs import Content, Job, Kind, State, Wanted
from damselfly.errors import RemoteProtocolError, UsageError
from damselfly.wire.preheat_messages import decode_preheat, job_seen
from damselfly.wire.provider_messages import decode_job, decode_old, old_job, provider_job

URL = "https://h.example/v2/lib/app/manifests/v1"


def a_job(state: State, *, error: str = "") -> Job:
    job = Job(job_id=7, wanted=Wanted(kind=Kind.IMAGE, names=(URL,), target="racks"), created_s=1.0)
    if state is State.PENDING:
        return job
    job.begin(now_s=2.0)
    job.resolve([Content(url="http://a/1", what="layer", size_bytes=10)], ["ann"])
    job.start_next()
    if state is State.CANCELLED:
        job.cancel(now_s=3.0)
    elif state is not State.RUNNING:
        job.on_place_ended(0, "supernode", now_s=3.0)
        job.on_place_ended(0, "ann", error=error, now_s=3.0)
    assert job.state is state
    return job


def provided(job: Job) -> dict[str, Any]:
    told = provider_job(job, address_of=lambda place: f"ip of {place}", time_of=lambda s: f"{s}")
    value: dict[str, Any] = msgspec.to_builtins(told)
    return value


def test_request_is_one_job_for_images_and_one_for_files() -> None:
    body = {
        "images": ["app", URL],
        "urls": ["https://ann:pw@a/f?sig=1&x=2"],
        "platforms": ["linux/amd64"],
        "filtered_query": ["sig"],
        "headers": ["A: b"],
    }

    request = decode_preheat(json.dumps(body).encode())
    images, files = request.wanted()

    assert images.names == ("docker.io/library/app:latest", URL)
    assert images.platforms == ("linux/amd64",)
    assert (files.names, files.platforms) == (("https://a/f?x=2",), ())
    assert request.secret_urls() == {"https://a/f?x=2": "https://ann:pw@a/f?sig=1&x=2"}
    assert request.secret_headers() == (("A", "b"),)
    assert "pw" not in repr(request)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"images": ["a"] * 2000},
        {"images": ["a"], "priority": 10},
        {"images": ["a"], "rate": -1},
        {"images": ["a", "b"], "digest": "sha256:" + "a" * 64},
    ],
)
def test_request_that_cannot_be_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        decode_preheat(json.dumps(body).encode()).wanted()


def test_digest_is_of_the_one_content_that_is_named() -> None:
    body = {"urls": ["https://a/f"], "digest": "SHA256:" + "A" * 64}

    (wanted,) = decode_preheat(json.dumps(body).encode()).wanted()

    assert wanted.digest == "sha256:" + "a" * 64


def test_job_is_told_with_each_content_at_each_place() -> None:
    told = job_seen(a_job(State.FAILURE, error="lost"))

    assert (told.id, told.state, told.kind) == (7, "failure", "image")
    assert (told.done_bytes, told.size_bytes) == (10, 20)
    assert [place.error for place in told.contents[0].places] == ["", "lost"]
    assert job_seen(a_job(State.RUNNING), has_contents=False).contents == []


@pytest.mark.parametrize(
    ("state", "word", "old"),
    [
        (State.PENDING, "PENDING", "WAITING"),
        (State.RUNNING, "PENDING", "RUNNING"),
        (State.SUCCESS, "SUCCESS", "SUCCESS"),
        (State.FAILURE, "FAILURE", "FAIL"),
        (State.CANCELLED, "FAILURE", "FAIL"),
    ],
)
def test_harbor_reads_the_words_that_it_knows(state: State, word: str, old: str) -> None:
    job = a_job(state, error="lost" if state is State.FAILURE else "")
    told = provided(job)

    assert (told["id"], told["state"], told["type"]) == (7, word, "preheat")
    assert (told["result"] is not None) == state.is_over
    old_told = old_job(job, time_of=lambda s: f"{s}")
    assert (old_told.id, old_told.status) == ("7", old)
    assert old_told.finish_time == ("3.0" if state.is_over else "")


def test_harbor_prints_what_became_of_each_content() -> None:
    (group,) = provided(a_job(State.FAILURE, error="lost"))["result"]["job_states"]

    assert "lost" in group["error"]
    assert group["results"] == [
        {
            "success_tasks": [
                {
                    "url": "http://a/1",
                    "hostname": "supernode",
                    "ip": "ip of supernode",
                    "description": "",
                }
            ],
            "failure_tasks": [
                {"url": "http://a/1", "hostname": "ann", "ip": "ip of ann", "description": "lost"}
            ],
            "scheduler_cluster_id": 1,
        }
    ]
    cancelled = provided(a_job(State.CANCELLED))["result"]["job_states"][0]
    assert cancelled["error"] == "the preheat was cancelled"


def harbor_job(**arguments: Any) -> bytes:  # noqa: ANN401
    """Return what Harbor's driver "dragonfly" 2.1.59 sends."""
    usual = {
        "type": "image",
        "url": URL,
        "tag": "",
        "filtered_query_params": "",
        "headers": {"Authorization": "Bearer t"},
        "scope": "",
        "concurrent_count": 0,
        "timeout": 0,
    }
    job = {"type": "preheat", "args": {**usual, **arguments}, "scheduler_cluster_ids": None}
    return json.dumps(job).encode()


def test_harbors_job_is_understood() -> None:
    request, scope = decode_job(harbor_job(scope="all_peers", platform="linux/amd64"))

    assert (request.images, request.platforms, scope) == ([URL], ["linux/amd64"], "all_peers")
    assert request.headers == ["Authorization: Bearer t"]
    files, _ = decode_job(
        harbor_job(type="file", urls=["https://b"], filtered_query_params="a&b", headers=None)
    )
    assert (files.urls, files.filtered_query) == ([URL, "https://b"], ["a", "b"])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        json.dumps({"type": "gc", "args": {}}).encode(),
        harbor_job(scope="moon"),
        harbor_job(type="model"),
        harbor_job(url=""),
        harbor_job(url="nothing", type="file"),
        harbor_job(url="a b"),
        harbor_job(headers={"A b": "c"}),
    ],
)
def test_job_that_cannot_be_is_refused(body: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        decode_job(body)


def test_old_harbor_is_understood() -> None:
    body = {"type": "image", "url": URL, "filter": "sig", "headers": {"A": "b"}}

    assert decode_old(json.dumps(body).encode()).images == [URL]
    assert decode_old(json.dumps(body).encode()).filtered_query == ["sig"]
    body = {"type": "file", "url": "https://a", "filteredQueryParams": "x&y"}
    assert decode_old(json.dumps(body).encode()).filtered_query == ["x", "y"]
