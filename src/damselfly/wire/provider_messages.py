"""The JSON by which Harbor drives a P2P provider: Dragonfly's, and the old one.

Source: Harbor, src/pkg/p2p/preheat/provider/dragonfly.go (driver "dragonfly", 2.1.59), and the
manager's types of Dragonfly 2.4 for the old form.
"""

from collections.abc import Callable

import msgspec

from damselfly.core.preheating.jobs import SUPERNODE_PLACE, Job, State
from damselfly.errors import RemoteProtocolError, TaskSpecError, UsageError
from damselfly.wire.preheat_messages import PreheatRequest
from damselfly.wire.webhooks.pushes import decode, shown

SCOPES = ("", "single_seed_peer", "all_seed_peers", "all_peers")

JOB_STATES = {
    State.PENDING: "PENDING",
    State.RUNNING: "PENDING",  # any other word is a failure to Harbor, STARTED included
    State.SUCCESS: "SUCCESS",
    State.FAILURE: "FAILURE",
    State.CANCELLED: "FAILURE",
}
OLD_STATES = {
    State.PENDING: "WAITING",
    State.RUNNING: "RUNNING",
    State.SUCCESS: "SUCCESS",
    State.FAILURE: "FAIL",
    State.CANCELLED: "FAIL",
}


class _Arguments(msgspec.Struct):
    type: str = ""
    url: str = ""
    urls: list[str] | None = None
    tag: str = ""
    filtered_query_params: str = ""
    headers: dict[str, str] | None = None
    scope: str = ""
    platform: str = ""


class _JobAsked(msgspec.Struct):
    type: str
    args: _Arguments


class _OldAsked(msgspec.Struct, rename="camel"):
    type: str = ""
    url: str = ""
    filtered_query_params: str = ""
    filter: str = ""
    headers: dict[str, str] | None = None


class TaskTold(msgspec.Struct, kw_only=True):
    """One content at one host."""

    url: str
    hostname: str
    ip: str
    description: str = ""


class ResultTold(msgspec.Struct, kw_only=True):
    """What Harbor prints as a table."""

    success_tasks: list[TaskTold]
    failure_tasks: list[TaskTold]
    scheduler_cluster_id: int


class JobStateTold(msgspec.Struct, kw_only=True):
    """A group of Dragonfly's; there is always one."""

    task_uuid: str
    state: str
    error: str
    results: list[ResultTold]


class JobResultTold(msgspec.Struct, kw_only=True):
    """The groups."""

    group_uuid: str
    state: str
    job_states: list[JobStateTold]


class ProviderJob(msgspec.Struct, kw_only=True):
    """A job as Dragonfly tells it."""

    id: int
    created_at: str
    updated_at: str
    task_id: str
    bio: str
    type: str
    state: str
    args: dict[str, str]
    result: JobResultTold | None
    user_id: int
    seed_peer_clusters: list[str]
    scheduler_clusters: list[str]


class OldJob(msgspec.Struct, kw_only=True, rename="camel"):
    """A job as Dragonfly 1 told it; also the answer to its start, with an id alone."""

    id: str
    status: str
    start_time: str
    finish_time: str


def decode_job(body: bytes) -> tuple[PreheatRequest, str]:
    """Return what Harbor asks for, and the scope in which.

    Fields that are not known are passed over: Harbor sends some that nobody reads.

    Raises:
        RemoteProtocolError: It is no job of a kind that there is.
    """
    asked = decode(body, _JobAsked)
    arguments = asked.args
    if asked.type != "preheat":
        raise RemoteProtocolError(f"a job of type {shown(asked.type)!r}; preheat is known")
    if arguments.scope not in SCOPES:
        raise RemoteProtocolError(f"a scope {shown(arguments.scope)!r}; known: {SCOPES[1:]}")
    names = [each for each in (arguments.url, *(arguments.urls or [])) if each]
    request = _request(
        arguments.type, names, arguments.filtered_query_params, arguments.headers or {}
    )
    request.tag = arguments.tag
    request.platforms = [arguments.platform] if arguments.platform else []
    return request, arguments.scope


def decode_old(body: bytes) -> PreheatRequest:
    """Return what an old Harbor asks for.

    Raises:
        RemoteProtocolError: It is nothing that there is.
    """
    asked = decode(body, _OldAsked)
    filtered = asked.filtered_query_params or asked.filter
    return _request(asked.type, [asked.url], filtered, asked.headers or {})


def _request(kind: str, names: list[str], filtered: str, headers: dict[str, str]) -> PreheatRequest:
    if kind not in ("image", "file") or not names:
        raise RemoteProtocolError(f"a preheat of {shown(kind)!r}; image and file with a url exist")
    request = PreheatRequest(
        filtered_query=[each for each in filtered.split("&") if each],
        headers=[f"{name}: {value}" for name, value in headers.items()],
    )
    if kind == "image":
        request.images = names
    else:
        request.urls = names
    try:
        request.wanted()
        request.secret_headers()
    except (TaskSpecError, UsageError) as exc:
        raise RemoteProtocolError(f"a preheat that cannot be: {exc}") from exc
    return request


def provider_job(
    job: Job, *, address_of: Callable[[str], str], time_of: Callable[[float], str]
) -> ProviderJob:
    """Return a job as Dragonfly tells it.

    Args:
        job: The job.
        address_of: Returns the IP address of a place.
        time_of: Returns seconds since 1970 as RFC 3339.
    """
    word = JOB_STATES[job.state]
    failed_at = job.error or ("the preheat was cancelled" if job.state is State.CANCELLED else "")
    success: list[TaskTold] = []
    failure: list[TaskTold] = []
    for item in job.items:
        for place, progress in item.places.items():
            told = TaskTold(url=item.content.url, hostname=place, ip=address_of(place))
            if progress.state is State.SUCCESS:
                success.append(told)
            elif progress.state.is_over:
                told.description = progress.error
                failure.append(told)
    result = None
    if job.state.is_over:
        table = ResultTold(success_tasks=success, failure_tasks=failure, scheduler_cluster_id=1)
        name = f"preheat-{job.job_id}"
        group = JobStateTold(task_uuid=name, state=word, error=failed_at, results=[table])
        result = JobResultTold(group_uuid=name, state=word, job_states=[group])
    return ProviderJob(
        id=job.job_id,
        created_at=time_of(job.created_s),
        updated_at=time_of(job.finished_s or job.started_s or job.created_s),
        task_id=f"preheat-{job.job_id}",
        bio="",
        type="preheat",
        state=word,
        args={"type": job.wanted.kind.value, "url": job.wanted.names[0], "scope": _scope(job)},
        result=result,
        user_id=0,
        seed_peer_clusters=[],
        scheduler_clusters=[],
    )


def _scope(job: Job) -> str:
    return "single_seed_peer" if job.wanted.target == SUPERNODE_PLACE else "all_peers"


def old_job(job: Job, *, time_of: Callable[[float], str]) -> OldJob:
    """Return a job as Dragonfly 1 told it."""
    return OldJob(
        id=str(job.job_id),
        status=OLD_STATES[job.state],
        start_time=time_of(job.started_s or job.created_s),
        finish_time=time_of(job.finished_s) if job.finished_s else "",
    )
