"""Who may have a task: whoever its source gives it to.

A host and the SuperNode keep contents that only some may read at their source. Before such a
content is handed to a requester, the source must have accepted what *that* requester shows:
its credentials, or nothing at all. What the source gave to somebody who showed nothing, it
gives to everybody: then nobody needs to be asked about any more.

What a requester shows is named by a `Credential`, which says nothing about it: services make
it from secrets and a key of the process.
"""

import math
from typing import Final, NewType
from urllib.parse import urlsplit

from damselfly.core.task import TaskId, TaskSpec

Credential = NewType("Credential", str)
"""Tells what one requester shows from what another shows."""

ANYBODY: Final = Credential("")
"""Of those who show nothing."""

WINDOW_S: Final = 60.0
ACCEPTED_MAX: Final = 20_000  # some 300 bytes each; who is forgotten is asked about again

# Headers that say what one would like, and not who one is.
_HARMLESS: Final = frozenset(
    {
        *("accept", "accept-charset", "accept-language", "cache-control", "dnt", "pragma"),
        *("priority", "traceparent", "tracestate", "user-agent", "x-request-id"),
    }
)


def shown_by(spec: TaskSpec) -> tuple[str, ...]:
    """Return all that a request shows its source besides what names the task.

    User and password in the URL, the query parameters that are left out of the task's name
    (of a task that is named by its digest, all of them), and all headers but harmless ones.
    """
    parts = urlsplit(spec.url)
    userinfo = parts.netloc.rpartition("@")[0]
    pairs = [pair for pair in parts.query.split("&") if pair]
    if spec.digest is None:
        pairs = [pair for pair in pairs if pair.partition("=")[0] in spec.filtered_query]
    return (
        *([userinfo] if userinfo else []),
        *pairs,
        *(f"{name}: {value}" for name, value in spec.headers if name.lower() not in _HARMLESS),
    )


class Access:
    """What sources said, for a short time."""

    def __init__(self, *, window_s: float = WINDOW_S) -> None:
        self._window_s = window_s
        # {(task, credential): when it must be asked about again}, the oldest first.
        self._accepted: dict[tuple[TaskId, Credential], float] = {}

    def accept(self, task_id: TaskId, credential: Credential, *, now_s: float) -> None:
        """The source gave a task to whoever showed this credential."""
        self._accepted.pop((task_id, credential), None)
        until_s = math.inf if credential == ANYBODY else now_s + self._window_s
        self._accepted[task_id, credential] = until_s
        if len(self._accepted) > ACCEPTED_MAX:
            del self._accepted[next(iter(self._accepted))]

    def may_have(self, task_id: TaskId, credential: Credential, *, now_s: float) -> bool:
        """Say whether a task may be handed out without asking its source."""
        return any(
            now_s < self._accepted.get((task_id, shown), -math.inf)
            for shown in (ANYBODY, credential)
        )
