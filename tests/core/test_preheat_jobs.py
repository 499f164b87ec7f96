"""Guards a preheat job's life: it ends when each content is warm or lost at each place."""

import random

import pytest
from hypothesis import given, strategies as st

from damselfly.core.preheating.jobs import (
    ERROR_CHARS_MAX,
    Content,
    Job,
    Kind,
    Progress,
    State,
    Wanted,
)
from damselfly.errors import InvalidTransitionError

IMAGE = Wanted(kind=Kind.IMAGE, names=("a/b:v1",))
LAYERS = [
    Content(url="http://a/1", what="layer", digest="sha256:1", size_bytes=10),
    Content(url="http://a/2", what="layer", digest="sha256:2"),
]


def a_job(*hosts: str, wanted: Wanted = IMAGE) -> Job:
    job = Job(job_id=1, wanted=wanted, created_s=1.0)
    job.begin(now_s=2.0)
    job.resolve(LAYERS, hosts)
    return job


def test_job_ends_well_when_all_is_warm_everywhere() -> None:
    job = a_job("ann")

    assert [job.start_next(), job.start_next(), job.start_next()] == [0, 1, None]
    job.on_progress(0, "supernode", done_bytes=5, size_bytes=-1)
    assert job.items[0].places["supernode"] == Progress(State.RUNNING, 5, 10)
    for index in (0, 1):
        for place in ("supernode", "ann"):
            assert job.state is State.RUNNING
            job.on_place_ended(index, place, now_s=3.0)
            job.on_place_ended(index, place, error="too late", now_s=4.0)

    assert (job.state, job.error, job.finished_s) == (State.SUCCESS, "", 3.0)
    assert job.items[0].places["ann"] == Progress(State.SUCCESS, 10, 10)
    assert job.items[1].places["ann"] == Progress(State.SUCCESS, 0, -1)


def test_what_failed_is_said_in_a_sentence() -> None:
    job = a_job("ann")
    job.start_next()
    job.on_place_ended(0, "supernode", error="x" * 2000, now_s=3.0)
    job.on_place_ended(0, "ann", error="no room", now_s=3.0)
    job.on_place_ended(1, "supernode", now_s=3.0)
    assert not job.state.is_over
    job.on_place_ended(1, "ann", now_s=3.0)

    assert str(job.state) == "failure"
    assert job.error.startswith("layer sha256:1 is not warm at supernode: xxx")
    assert len(job.error) == ERROR_CHARS_MAX

    job = a_job("ann")
    job.resolve([Content(url="http://a/f", what="file")], ())
    job.on_place_ended(0, "supernode", error="gone", now_s=3.0)
    assert job.error == "file is not warm at supernode: gone"


def test_several_failures_are_counted() -> None:
    job = a_job()
    job.on_place_ended(0, "supernode", error="one", now_s=3.0)
    job.on_place_ended(1, "supernode", error="two", now_s=3.0)

    assert job.error == "layer sha256:1 is not warm at supernode: one (2 of 2 failed)"


def test_layers_that_two_manifests_share_are_one_item() -> None:
    job = a_job()
    job.resolve([*LAYERS, *LAYERS], ())

    assert len(job.items) == 2
    assert job.is_resolved


def test_cancelled_job_is_over_and_its_schedule_too() -> None:
    job = a_job("ann")
    job.start_next()
    job.on_place_ended(0, "supernode", now_s=3.0)

    assert job.cancel(now_s=4.0)
    assert not job.cancel(now_s=5.0)
    assert (job.state, job.finished_s) == (State.CANCELLED, 4.0)
    assert job.items[0].places["supernode"].state is State.SUCCESS
    assert job.items[0].places["ann"].state is State.CANCELLED
    job.next_run_s = 9.0
    assert job.cancel(now_s=5.0)
    assert job.next_run_s == 0.0


def test_job_that_cannot_go_on_fails_and_runs_again() -> None:
    job = Job(job_id=1, wanted=IMAGE, created_s=1.0)
    job.fail("there is nothing", now_s=2.0)
    with pytest.raises(InvalidTransitionError, match="preheat 1: fail in state failure"):
        job.fail("again", now_s=2.0)

    job.run_again()

    assert (job.state, job.error, job.finished_s) == (State.PENDING, "", 0.0)
    job.begin(now_s=3.0)
    assert (job.state, job.run_count) == (State.RUNNING, 1)


def test_interrupted_job_goes_on_with_what_is_missing() -> None:
    job = a_job("ann")
    job.start_next()
    job.on_place_ended(0, "supernode", now_s=3.0)
    job.on_place_ended(1, "supernode", now_s=3.0)
    job.on_place_ended(1, "ann", now_s=3.0)

    job.put_back()
    job.put_back()

    assert job.state is State.PENDING
    job.begin(now_s=4.0)
    assert [job.start_next(), job.start_next()] == [0, None]
    assert {place: each.state for place, each in job.items[0].places.items()} == {
        "supernode": State.RUNNING,
        "ann": State.RUNNING,
    }


def test_job_that_waits_cannot_be_put_back_and_its_progress_tells_no_length_twice() -> None:
    job = a_job()
    job.start_next()
    job.on_progress(1, "supernode", done_bytes=3, size_bytes=7)

    assert job.items[1].places["supernode"] == Progress(State.PENDING, 3, 7)
    job.items[0].places["ann"] = Progress()
    job.items[0].places["supernode"].state = State.PENDING
    job.items[0].places["ann"].state = State.SUCCESS
    assert job.start_next() == 0
    assert job.items[0].places["ann"].state is State.SUCCESS


def test_same_content_and_place_is_the_same_job() -> None:
    later = Wanted(kind=Kind.IMAGE, names=("a/b:v1",), priority=9, hours="1:00-2:00", cron="x")

    assert later.key == IMAGE.key
    for other in (
        Wanted(kind=Kind.FILE, names=("a/b:v1",)),
        Wanted(kind=Kind.IMAGE, names=("a/b:v2",)),
        Wanted(kind=Kind.IMAGE, names=("a/b:v1",), target="racks"),
        Wanted(kind=Kind.IMAGE, names=("a/b:v1",), platforms=("linux/amd64",)),
    ):
        assert other.key != IMAGE.key


@given(st.integers(0, 1 << 32))
def test_any_order_of_ends_ends_the_job_once(seed: int) -> None:
    rng, job = random.Random(seed), a_job("ann", "bob")
    while job.start_next() is not None:
        pass
    left = [(index, place) for index in (0, 1) for place in ("supernode", "ann", "bob")]
    rng.shuffle(left)
    errors = [rng.choice(["", "lost"]) for _ in left]

    for (index, place), error in zip(left, errors, strict=True):
        assert job.state is State.RUNNING
        job.on_place_ended(index, place, error=error, now_s=3.0)

    assert job.state is (State.FAILURE if any(errors) else State.SUCCESS)
    assert bool(job.error) == any(errors)
