"""What people see of a host's downloads: those under way, and the last ones that ended."""

from collections import deque
from dataclasses import dataclass
from typing import Final

import msgspec

from damselfly.clock import now_s
from damselfly.core.task import TaskSpec
from damselfly.services.downloading.download_run import DownloadRun
from damselfly.wire.status_messages import DownloadSeen

ENDED_MAX: Final = 32  # an image has some ten layers; what is older is in the log


@dataclass(frozen=True, slots=True, kw_only=True)
class _Begun:
    run: DownloadRun
    spec: TaskSpec
    started_s: float


class SeenDownloads:
    """Told when downloads begin and end; asked how they are."""

    def __init__(self) -> None:
        # {run: what it is about}, in the order in which they began.
        self._running: dict[DownloadRun, _Begun] = {}
        self._ended: deque[DownloadSeen] = deque(maxlen=ENDED_MAX)  # the latest first

    def begin(self, run: DownloadRun, spec: TaskSpec) -> None:
        """Take note of a download that begins."""
        self._running[run] = _Begun(run=run, spec=spec, started_s=now_s())

    def end(self, run: DownloadRun) -> None:
        """Take note of one that nobody waits for any more, before it is taken apart."""
        begun = self._running.pop(run, None)
        if begun is not None:
            seen = _seen(begun)
            if not run.outcome.done():
                seen = msgspec.structs.replace(seen, state="cancelled")
            self._ended.appendleft(seen)

    def running(self) -> tuple[DownloadSeen, ...]:
        """Return those under way, the oldest first."""
        return tuple(_seen(begun) for begun in self._running.values())

    def ended(self) -> tuple[DownloadSeen, ...]:
        """Return the last ones that ended, the latest first."""
        return tuple(self._ended)


def _seen(begun: _Begun) -> DownloadSeen:
    progress, outcome = begun.run.progress(), begun.run.outcome
    state, error = progress.state, ""
    if outcome.cancelled():
        state = "cancelled"
    elif outcome.done():
        failure = outcome.exception()
        state, error = ("failed", str(failure)) if failure else ("finished", "")
    return DownloadSeen(
        task_id=begun.spec.task_id,
        url=begun.spec.display_url,
        state=state,
        size_bytes=progress.size_bytes,
        bytes_by=msgspec.structs.replace(progress.bytes_by),
        parent_count=progress.parent_count,
        seconds=round(now_s() - begun.started_s, 3),
        error=error,
    )
