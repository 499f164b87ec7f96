"""Whether what the cache holds may be handed out: asked before and after the source is.

The table, with what the source says to a conditional request (system.md, section 5):

==================  ==========================  =========================================
cache               source                      then
==================  ==========================  =========================================
nothing             not asked                   read it
named by a digest,  not asked                   whole: hand it out; part: read what is missing
or imported
an edition          not asked: confirmed just   the same
                    now
an edition          304, or 200 with the same   the same
                    validators
an edition          200 with others, or none    read it: a new edition
an edition          no answer                   whole: hand it out, stale, if hosts are just
                                                downloading it, or the policy is `unreachable`
                                                or `always`; else fail
an edition          anything else               the same if the policy is `always`; else fail
==================  ==========================  =========================================
"""

from dataclasses import dataclass
from enum import StrEnum

from damselfly.core.task import Validators

NOT_MODIFIED = 304
OK = 200


class StalePolicy(StrEnum):
    """When content is served although the source did not confirm it.

    Whatever the policy, a host may join the others that are just downloading an edition: it
    gets what it would have got a moment earlier.
    """

    NEVER = "never"
    UNREACHABLE = "unreachable"  # the source gives no answer at all
    ALWAYS = "always"  # ... or answers with an error


class Verdict(StrEnum):
    """What to do with the best entry of a task."""

    HIT = "hit"  # hand it out
    STALE = "stale"  # hand it out, and say that the source could not confirm it
    RESUME = "resume"  # read what is missing
    VALIDATE = "validate"  # ask the source
    FETCH = "fetch"  # read all: a new edition
    FAIL = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cached:
    """An entry of the cache, as far as it matters here.

    Attributes:
        is_whole: All of it is held and was checked.
        is_named_by_digest: The task has a digest: the content can be no other.
        validators: What the source said of it.
        validated_wall_s: When the source last confirmed it; 0 is never.
        has_swarm: Hosts are downloading it at this moment.
        is_imported: It was put in from a file: there is no source to ask.
    """

    is_whole: bool
    is_named_by_digest: bool
    validators: Validators
    validated_wall_s: float
    has_swarm: bool = False
    is_imported: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceWord:
    """What the source said when it was asked; `status` is None when it gave no answer."""

    status: int | None
    validators: Validators = Validators()


def judge_before(cached: Cached | None, *, now_wall_s: float, window_s: float) -> Verdict:
    """Say what to do before the source is asked.

    Args:
        cached: The best entry of the task, if there is one.
        now_wall_s: Seconds since 1970.
        window_s: For so long a confirmation is believed.
    """
    if cached is None:
        return Verdict.FETCH
    age_s = now_wall_s - cached.validated_wall_s
    if (
        cached.is_named_by_digest or cached.is_imported or 0 <= age_s < window_s
    ):  # negative: the clock was set back
        return Verdict.HIT if cached.is_whole else Verdict.RESUME
    return Verdict.VALIDATE if cached.validators.has_any else Verdict.FETCH


def judge_after(cached: Cached, word: SourceWord, *, policy: StalePolicy) -> Verdict:
    """Say what to do with an entry after the source was asked about it."""
    if word.status == NOT_MODIFIED or (word.status == OK and _is_same(cached, word.validators)):
        return Verdict.HIT if cached.is_whole else Verdict.RESUME
    if word.status == OK:
        return Verdict.FETCH
    is_silent = word.status is None
    is_allowed = (
        policy is StalePolicy.ALWAYS
        or (is_silent and policy is StalePolicy.UNREACHABLE)
        or (is_silent and cached.has_swarm)
    )
    return Verdict.STALE if cached.is_whole and is_allowed else Verdict.FAIL


def _is_same(cached: Cached, validators: Validators) -> bool:
    """Say whether validators name the same version; an ETag outweighs a date."""
    if cached.validators.etag or validators.etag:
        return cached.validators.etag == validators.etag
    return validators.has_any and cached.validators == validators
