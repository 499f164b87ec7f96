"""The JSON of `/api/v1/preheats`: what is asked for, and what is told of jobs."""

import msgspec

from damselfly.core.digest import Digest
from damselfly.core.hours import Hours
from damselfly.core.preheating.jobs import PRIORITY_MAX, PRIORITY_USUAL, Job, Kind, Wanted
from damselfly.core.preheating.platforms import Platform
from damselfly.core.preheating.targets import Target
from damselfly.core.task import TaskSpec, parse_header
from damselfly.core.urls import identity_url
from damselfly.errors import UsageError
from damselfly.wire.image_names import is_manifest_url, parse_image_name
from damselfly.wire.webhooks.pushes import decode

NAMES_MAX = 1000


class PreheatRequest(msgspec.Struct, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What is to be warm, and where.

    Attributes:
        images: References such as `ghcr.io/org/app:v1`, or URLs of manifests.
        urls: Files.
        digest: `sha256:…` of the file, if there is one.
        platforms: Of an image's index, such as `linux/amd64`; empty: all.
        target: `supernode`, `racks`, `share:25%`, `location:eu/zone-a`, `label:gpu`,
            `hosts:a,b`.
        headers: Lines `Name: value` for the source; kept in memory alone.
        tag: Keeps contents of one URL apart.
        filtered_query: Names of query parameters that do not name the content, such as
            signatures.
        priority: 0 to 9; the highest goes first.
        rate: Limit of this job in bytes per second; 0 is none.
        hours: Time of day in which it runs, such as `22:00-06:00`; empty: as the settings have.
        cron: When it runs again, by itself: minute, hour, day, month, day of the week.
    """

    images: list[str] = msgspec.field(default_factory=list)
    urls: list[str] = msgspec.field(default_factory=list)
    digest: str = ""
    platforms: list[str] = msgspec.field(default_factory=list)
    target: str = "supernode"
    headers: list[str] = msgspec.field(default_factory=list)
    tag: str = ""
    filtered_query: list[str] = msgspec.field(default_factory=list)
    priority: int = PRIORITY_USUAL
    rate: float = 0.0
    hours: str = ""
    cron: str = ""

    def __repr__(self) -> str:
        return f"PreheatRequest({len(self.images)} images, {len(self.urls)} urls)"

    def wanted(self) -> list[Wanted]:
        """Return the jobs that this asks for: one for the images, and one for the files.

        Raises:
            UsageError: Something in it cannot be used.
        """
        if not self.images and not self.urls:
            raise UsageError("a preheat of nothing: name images or urls")
        if len(self.images) + len(self.urls) > NAMES_MAX:
            raise UsageError(f"{NAMES_MAX} names at most; ask for the others in a second job")
        if not 0 <= self.priority <= PRIORITY_MAX:
            raise UsageError(f"priority {self.priority} cannot be used: 0 to {PRIORITY_MAX}")
        if self.rate < 0:
            raise UsageError("a rate cannot be negative")
        if self.digest and len(self.images) + len(self.urls) != 1:
            raise UsageError("a digest is of one content: name one")
        Hours.parse(self.hours)
        jobs = []
        if self.images:
            names = tuple(dict.fromkeys(image_name(each) for each in self.images))
            platforms = tuple(str(Platform.parse(each)) for each in self.platforms)
            jobs.append(self._wanted(Kind.IMAGE, names, platforms))
        if self.urls:
            names = tuple(dict.fromkeys(self.name_of(each) for each in self.urls))
            jobs.append(self._wanted(Kind.FILE, names, ()))
        return jobs

    def _wanted(self, kind: Kind, names: tuple[str, ...], platforms: tuple[str, ...]) -> Wanted:
        return Wanted(
            kind=kind,
            names=names,
            digest=str(Digest.parse(self.digest)) if self.digest else "",
            platforms=platforms,
            target=str(Target.parse(self.target)),
            tag=self.tag,
            filtered_query=tuple(self.filtered_query),
            priority=self.priority,
            rate_bytes_per_s=self.rate,
            hours=self.hours,
            cron=self.cron,
        )

    def name_of(self, url: str) -> str:
        """Return a URL without what is secret in it.

        Raises:
            TaskSpecError: It is none.
        """
        spec = TaskSpec(url=url, tag=self.tag, filtered_query=tuple(self.filtered_query))
        return identity_url(spec.url, spec.filtered_query)

    def secret_urls(self) -> dict[str, str]:
        """Return {URL without what is secret in it: the URL}, of those where they differ."""
        urls = {self.name_of(each): TaskSpec(url=each).url for each in self.urls}
        return {name: url for name, url in urls.items() if name != url}

    def secret_headers(self) -> tuple[tuple[str, str], ...]:
        """Return what sources are shown.

        Raises:
            TaskSpecError: A line is no header.
        """
        return tuple(parse_header(line) for line in self.headers)


def image_name(text: str) -> str:
    """Return the name of an image in its one form; a URL of a manifest stays one.

    Raises:
        UsageError: It is none.
    """
    image = parse_image_name(text)
    return f"{image.base}{image.path}" if is_manifest_url(text) else str(image)


def decode_preheat(body: bytes) -> PreheatRequest:
    """Return what a body asks for.

    Raises:
        RemoteProtocolError: It is no such JSON, or has fields that do not exist.
    """
    return decode(body, PreheatRequest)


class PlaceSeen(msgspec.Struct, kw_only=True):
    """How far a content is at a place."""

    place: str
    state: str
    done_bytes: int
    size_bytes: int
    error: str = ""


class ContentSeen(msgspec.Struct, kw_only=True):
    """A content of a job, such as a layer."""

    what: str
    url: str
    digest: str
    size_bytes: int
    places: list[PlaceSeen]


class JobSeen(msgspec.Struct, kw_only=True):
    """A job as it is told.

    Attributes:
        state: `pending`, `running`, `success`, `failure` or `cancelled`.
        error: Why it failed, in one sentence.
        done_bytes: Over all contents and places.
        size_bytes: The same, as far as it is known.
        created: Seconds since 1970, as all times; 0: not yet.
        next_run: When it runs again by itself; 0: never.
        contents: Each with each place; empty in a list of jobs.
    """

    id: int
    kind: str
    names: list[str]
    state: str
    error: str
    target: str
    platforms: list[str]
    priority: int
    cron: str
    content_count: int
    content_done_count: int
    done_bytes: int
    size_bytes: int
    created: float
    started: float
    finished: float
    next_run: float
    run_count: int
    contents: list[ContentSeen]


class JobsSeen(msgspec.Struct, kw_only=True):
    """Jobs, the newest first."""

    preheats: list[JobSeen]


class ErrorTold(msgspec.Struct, kw_only=True):
    """Why a request was not carried out."""

    error: str
    message: str


class WebhookTold(msgspec.Struct, kw_only=True):
    """What became of the events of a webhook.

    Attributes:
        accepted: They started a job.
        repeated: They had been taken in before, and did nothing.
        outdated: They are too old to be believed, and did nothing.
        ignored: Of other things than pushes.
    """

    accepted: int
    repeated: int
    outdated: int
    ignored: list[str]


def job_seen(job: Job, *, has_contents: bool = True) -> JobSeen:
    """Return a job as it is told."""
    progress = [each for item in job.items for each in item.places.values()]
    return JobSeen(
        id=job.job_id,
        kind=job.wanted.kind.value,
        names=list(job.wanted.names),
        state=job.state.value,
        error=job.error,
        target=job.wanted.target,
        platforms=list(job.wanted.platforms),
        priority=job.wanted.priority,
        cron=job.wanted.cron,
        content_count=len(job.items),
        content_done_count=sum(item.is_over for item in job.items),
        done_bytes=sum(each.done_bytes for each in progress),
        size_bytes=sum(max(each.size_bytes, 0) for each in progress),
        created=job.created_s,
        started=job.started_s,
        finished=job.finished_s,
        next_run=job.next_run_s,
        run_count=job.run_count,
        contents=_contents(job) if has_contents else [],
    )


def _contents(job: Job) -> list[ContentSeen]:
    return [
        ContentSeen(
            what=item.content.what,
            url=item.content.url,
            digest=item.content.digest,
            size_bytes=item.content.size_bytes,
            places=[
                PlaceSeen(
                    place=place,
                    state=each.state.value,
                    done_bytes=each.done_bytes,
                    size_bytes=each.size_bytes,
                    error=each.error,
                )
                for place, each in item.places.items()
            ],
        )
        for item in job.items
    ]
