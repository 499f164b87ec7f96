"""Guards the table of what a cache may hand out, row by row."""

import pytest

from damselfly.core.caching.freshness import (
    Cached,
    SourceWord,
    StalePolicy,
    Verdict,
    judge_after,
    judge_before,
)
from damselfly.core.task import Validators

V1, V2 = Validators(etag='"1"', last_modified="Mon"), Validators(etag='"2"')
NONE = Validators()


def cached(
    *,
    is_whole: bool = True,
    digest: bool = False,
    validators: Validators = V1,
    at: float = 0.0,
    has_swarm: bool = False,
    is_imported: bool = False,
) -> Cached:
    return Cached(
        is_whole=is_whole,
        is_named_by_digest=digest,
        validators=validators,
        validated_wall_s=at,
        has_swarm=has_swarm,
        is_imported=is_imported,
    )


@pytest.mark.parametrize(
    ("entry", "verdict"),
    [
        (None, Verdict.FETCH),
        (cached(digest=True), Verdict.HIT),
        (cached(digest=True, is_whole=False), Verdict.RESUME),
        (cached(at=95.0), Verdict.HIT),
        (cached(at=95.0, is_whole=False), Verdict.RESUME),
        (cached(at=90.0), Verdict.VALIDATE),
        (cached(at=200.0), Verdict.VALIDATE),  # the clock was set back
        (cached(validators=NONE), Verdict.FETCH),
        (cached(validators=NONE, is_imported=True), Verdict.HIT),
    ],
)
def test_before_the_source_is_asked(entry: Cached | None, verdict: Verdict) -> None:
    assert judge_before(entry, now_wall_s=100.0, window_s=10.0) is verdict


@pytest.mark.parametrize("policy", list(StalePolicy))
@pytest.mark.parametrize(
    ("status", "validators", "whole", "part"),
    [
        (304, NONE, Verdict.HIT, Verdict.RESUME),
        (200, V1, Verdict.HIT, Verdict.RESUME),
        (200, Validators(etag='"1"'), Verdict.HIT, Verdict.RESUME),
        (200, V2, Verdict.FETCH, Verdict.FETCH),
        (200, NONE, Verdict.FETCH, Verdict.FETCH),
    ],
)
def test_source_that_answers_decides_whatever_the_policy(
    policy: StalePolicy, status: int, validators: Validators, whole: Verdict, part: Verdict
) -> None:
    word = SourceWord(status=status, validators=validators)

    verdicts = [judge_after(cached(is_whole=w), word, policy=policy) for w in (True, False)]

    assert verdicts == [whole, part]


@pytest.mark.parametrize(
    ("status", "policy", "verdict"),
    [
        (None, StalePolicy.NEVER, Verdict.FAIL),
        (None, StalePolicy.UNREACHABLE, Verdict.STALE),
        (None, StalePolicy.ALWAYS, Verdict.STALE),
        (404, StalePolicy.NEVER, Verdict.FAIL),
        (404, StalePolicy.UNREACHABLE, Verdict.FAIL),
        (503, StalePolicy.ALWAYS, Verdict.STALE),
    ],
)
def test_source_that_fails_is_left_to_the_policy(
    status: int | None, policy: StalePolicy, verdict: Verdict
) -> None:
    word = SourceWord(status=status)

    assert judge_after(cached(), word, policy=policy) is verdict
    assert judge_after(cached(is_whole=False), word, policy=policy) is Verdict.FAIL


def test_date_alone_names_a_version() -> None:
    dated = Validators(last_modified="Mon")
    word = SourceWord(status=200, validators=dated)

    verdict = judge_after(cached(validators=dated), word, policy=StalePolicy.NEVER)

    assert verdict is Verdict.HIT


@pytest.mark.parametrize(
    ("status", "is_whole", "verdict"),
    [(None, True, Verdict.STALE), (None, False, Verdict.FAIL), (404, True, Verdict.FAIL)],
)
def test_swarm_that_downloads_just_now_is_joined_while_the_source_is_silent(
    *, status: int | None, is_whole: bool, verdict: Verdict
) -> None:
    entry = cached(is_whole=is_whole, has_swarm=True)

    assert judge_after(entry, SourceWord(status=status), policy=StalePolicy.NEVER) is verdict
