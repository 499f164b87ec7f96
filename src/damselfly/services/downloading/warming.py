"""What the SuperNode told this host to have, though nobody here asks for it yet.

It is downloaded like anything else, but behind what somebody waits for: while a live download
runs here, fetches of blocks trickle. Who asks for the same task meanwhile takes part in its
download, which goes on at full speed from then on.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final

from damselfly.core.task import TaskId
from damselfly.errors import DamselflyError
from damselfly.services.downloading.downloads import Downloads
from damselfly.telemetry.log import get_log
from damselfly.wire import session_messages as wire
from damselfly.wire.local_messages import DownloadProgress, DownloadRequest
from damselfly.wire.session_messages import WARM_HEADER

RUNNING_MAX: Final = 64  # the SuperNode tells a few at a time; more is a mistake of somebody
TOLD_S: Final = 1.0  # between two messages about one task

log = get_log()


class Warming:
    """Downloads what it is told to, and says how far it is."""

    def __init__(
        self,
        downloads: Downloads,
        tasks: asyncio.TaskGroup,
        post: Callable[[wire.HostMessage], None],
    ) -> None:
        self._downloads = downloads
        self._tasks = tasks
        self._post = post
        self._running: dict[TaskId, asyncio.Task[None]] = {}

    def on_message(self, message: wire.Warm | wire.StopWarming) -> None:
        """The SuperNode wants a task warm, or no longer."""
        task_id = TaskId(message.task_id)
        running = self._running.pop(task_id, None)
        if running is not None:  # told anew, by a SuperNode that may have forgotten
            running.cancel()
        if isinstance(message, wire.StopWarming):
            return
        if len(self._running) >= RUNNING_MAX:
            text = f"{RUNNING_MAX} tasks are being warmed here already"
            self._post(wire.Warmed(task_id=task_id, error="TaskRejectedError", message=text))
            return
        self._running[task_id] = self._tasks.create_task(
            self._warm(message), name=f"warm {task_id[:12]}"
        )

    async def _warm(self, told: wire.Warm) -> None:
        task_id = TaskId(told.task_id)
        request = DownloadRequest(
            url=told.url,
            digest=told.digest,
            headers=(f"{WARM_HEADER}: {told.token}",),
            tag=told.task_tag,
            filter_query=told.filtered_query,
            can_use_source=False,
        )

        def on_progress(progress: DownloadProgress) -> None:
            self._post(
                wire.Warmed(
                    task_id=task_id,
                    done_bytes=progress.done_bytes,
                    size_bytes=progress.size_bytes,
                )
            )

        try:
            size = await self._downloads.warm(request, on_progress)
            self._post(
                wire.Warmed(task_id=task_id, done_bytes=size, size_bytes=size, is_whole=True)
            )
        except DamselflyError as exc:
            log.warning("warming_failed", task=task_id, reason=str(exc))
            self._post(wire.Warmed(task_id=task_id, error=type(exc).__name__, message=str(exc)))
        except Exception as exc:  # a supervisor: this task is not warmed, the host stays
            log.exception("warming_broke", task=task_id)
            self._post(wire.Warmed(task_id=task_id, error="DamselflyError", message=repr(exc)))
        finally:
            if self._running.get(task_id) is asyncio.current_task():
                del self._running[task_id]

    def end(self) -> None:
        """Stop all."""
        for running in self._running.values():
            with contextlib.suppress(RuntimeError):
                running.cancel()
