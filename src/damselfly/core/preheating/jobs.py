"""A preheat job: what is wanted, what came of it, layer by layer and place by place.

A job is known by what it wants and where: who asks for the same again gets the same job, which
then runs again, and ends at once where all is warm. Its contents follow from a manifest, or are
known from the start. Each is warmed at each place: at the SuperNode, and at the hosts that its
target chose. The job is over when each of these is over, and it is a success if all are.

Nothing here is a secret, so all of it may be written down: what a request shows to a source is
kept beside it, by the service, in memory.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from damselfly.errors import InvalidTransitionError

SUPERNODE_PLACE = "supernode"
PRIORITY_USUAL, PRIORITY_MAX = 5, 9
ERROR_CHARS_MAX = 500


class State(StrEnum):
    """How far something is."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCESS = "success"
    FAILURE = "failure"
    CANCELLED = "cancelled"

    @property
    def is_over(self) -> bool:
        """Whether nothing goes on any more."""
        return self not in (State.PENDING, State.RUNNING)


class Kind(StrEnum):
    """What the names of a job are."""

    IMAGE = "image"
    FILE = "file"
    BLOB = "blob"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be warm, and where.

    Attributes:
        kind: What the names are.
        names: References of images, or URLs; without user, password and filtered parameters.
        digest: What a content must hash to, if there is one name and that is known.
        platforms: Of an image's index; empty: all.
        target: See `Target`.
        tag: See `TaskSpec`.
        filtered_query: See `TaskSpec`.
        priority: 0 to 9; the highest goes first.
        rate_bytes_per_s: Limit of this job; 0 is none.
        hours: See `Hours`.
        cron: When it runs again, by itself.
    """

    kind: Kind
    names: tuple[str, ...]
    digest: str = ""
    platforms: tuple[str, ...] = ()
    target: str = SUPERNODE_PLACE
    tag: str = ""
    filtered_query: tuple[str, ...] = ()
    priority: int = PRIORITY_USUAL
    rate_bytes_per_s: float = 0.0
    hours: str = ""
    cron: str = ""

    @property
    def key(self) -> str:
        """What tells one job from another: the content and the place, not the manner."""
        parts = (self.kind, self.names, self.digest, self.platforms, self.target)
        text = repr((*parts, self.tag, self.filtered_query))
        return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """One content of a job.

    Attributes:
        url: Where it is read.
        what: `manifest`, `config`, `layer`, `blob` or `file`.
        digest: What it must hash to, if known.
        accept: What the source is told to accept; of a manifest, its type.
        size_bytes: Length as it was told, or -1.
    """

    url: str
    what: str
    digest: str = ""
    accept: str = ""
    size_bytes: int = -1


@dataclass(slots=True)
class Progress:
    """How far a content is at a place."""

    state: State = State.PENDING
    done_bytes: int = 0
    size_bytes: int = -1
    error: str = ""


@dataclass(slots=True)
class Item:
    """A content of a job and how far it is.

    Attributes:
        content: What.
        places: {place: how far it is there}; the SuperNode first.
    """

    content: Content
    places: dict[str, Progress]

    @property
    def is_over(self) -> bool:
        """Whether nothing goes on for it any more."""
        return all(progress.state.is_over for progress in self.places.values())


@dataclass(slots=True, kw_only=True)
class Job:
    """A job and all that is known of it.

    Attributes:
        job_id: Its number.
        wanted: What for.
        created_s: When it was first asked for; all times are of the clock on the wall.
        state: How far.
        items: Its contents; empty until they are known.
        error: Why it failed, in one sentence.
        started_s: When it last began; 0: not yet.
        finished_s: When it last ended; 0: not yet.
        next_run_s: When it begins again by itself; 0: never.
        run_count: How often it began.
        needs_secrets: It was asked for with credentials, which are not written down.
    """

    job_id: int
    wanted: Wanted
    created_s: float
    state: State = State.PENDING
    items: list[Item] = field(default_factory=list)
    error: str = ""
    started_s: float = 0.0
    finished_s: float = 0.0
    next_run_s: float = 0.0
    run_count: int = 0
    needs_secrets: bool = False

    @property
    def is_resolved(self) -> bool:
        """Whether its contents are known."""
        return bool(self.items)

    def begin(self, *, now_s: float) -> None:
        """It begins."""
        self._expect("begin", State.PENDING)
        self.state, self.started_s, self.run_count = State.RUNNING, now_s, self.run_count + 1

    def resolve(self, contents: Iterable[Content], hosts: Iterable[str]) -> None:
        """Its contents and their places are known now.

        The same content twice is one item: manifests of an index share layers.
        """
        self._expect("resolve", State.RUNNING)
        places = (SUPERNODE_PLACE, *hosts)
        unique = {(each.digest or each.url): each for each in contents}
        self.items = [
            Item(each, {place: Progress(size_bytes=each.size_bytes) for place in places})
            for each in unique.values()
        ]

    def start_next(self) -> int | None:
        """Return the next item to be warmed, which is running from now on; None: all are."""
        for index, item in enumerate(self.items):
            if item.places[SUPERNODE_PLACE].state is State.PENDING:
                for progress in item.places.values():
                    if progress.state is State.PENDING:
                        progress.state = State.RUNNING
                return index
        return None

    def on_progress(self, index: int, place: str, *, done_bytes: int, size_bytes: int) -> None:
        """A content is further at a place."""
        progress = self.items[index].places[place]
        progress.done_bytes = done_bytes
        if size_bytes >= 0:
            progress.size_bytes = size_bytes

    def on_place_ended(self, index: int, place: str, *, error: str = "", now_s: float) -> None:
        """A content is warm at a place, or will not be; the last one ends the job."""
        progress = self.items[index].places[place]
        if self.state is not State.RUNNING or progress.state.is_over:
            return
        progress.state = State.FAILURE if error else State.SUCCESS
        progress.error = error[:ERROR_CHARS_MAX]
        if not error and progress.size_bytes >= 0:
            progress.done_bytes = progress.size_bytes
        if all(item.is_over for item in self.items):
            error = self._summary()
            self._end(State.FAILURE if error else State.SUCCESS, error, now_s)

    def fail(self, error: str, *, now_s: float) -> None:
        """It cannot go on."""
        self._expect("fail", State.PENDING, State.RUNNING)
        self._end(State.FAILURE, error, now_s)

    def cancel(self, *, now_s: float) -> bool:
        """End it, and its schedule; False: there was nothing to end."""
        had_schedule, self.next_run_s = self.next_run_s > 0, 0.0
        if self.state.is_over:
            return had_schedule
        self._end(State.CANCELLED, "", now_s)
        return True

    def run_again(self) -> None:
        """Begin anew, with contents that are asked for anew."""
        assert self.state.is_over
        self.state, self.items, self.error = State.PENDING, [], ""
        self.finished_s = self.next_run_s = 0.0

    def put_back(self) -> None:
        """Go on later where it is: after a restart, or when its hours have ended."""
        if self.state is not State.RUNNING:
            return
        self.state = State.PENDING
        for progress in self._all_progress():
            if progress.state is State.RUNNING:
                progress.state = State.PENDING
        for item in self.items:  # a host may lack what is whole at the SuperNode
            if not item.is_over:
                item.places[SUPERNODE_PLACE].state = State.PENDING

    def _all_progress(self) -> Iterator[Progress]:
        return (progress for item in self.items for progress in item.places.values())

    def _end(self, state: State, error: str, now_s: float) -> None:
        self.state, self.error, self.finished_s = state, error[:ERROR_CHARS_MAX], now_s
        for progress in self._all_progress():
            if not progress.state.is_over:
                progress.state = State.CANCELLED

    def _summary(self) -> str:
        """Return in one sentence what failed; empty: nothing."""
        failed = [
            (place, item.content, progress.error)
            for item in self.items
            for place, progress in item.places.items()
            if progress.state is State.FAILURE
        ]
        if not failed:
            return ""
        place, content, error = failed[0]
        named = f"{content.what} {content.digest}" if content.digest else content.what
        count = sum(len(item.places) for item in self.items)
        more = f" ({len(failed)} of {count} failed)" if len(failed) > 1 else ""
        return f"{named} is not warm at {place}: {error}{more}"

    def _expect(self, event: str, *states: State) -> None:
        if self.state not in states:
            raise InvalidTransitionError(
                subject=f"preheat {self.job_id}", state=self.state, event=event
            )
