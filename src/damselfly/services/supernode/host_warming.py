"""Hosts that are told to warm a task, and how far they are.

A host is told over its session, and joins the swarm of the task like any other. What the
source is shown for it stays here: the host shows a token of ours instead, which stands for what
the preheat shows. So nobody's credentials reach a host, and the host, which showed nothing to
the source, hands the content to nobody whom the source does not accept.
"""

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from damselfly.core.peer import Host, HostId
from damselfly.core.task import TaskId, TaskSpec
from damselfly.core.urls import identity_url
from damselfly.errors import DamselflyError, TaskRejectedError
from damselfly.wire import session_messages as wire
from damselfly.wire.session_messages import WARM_HEADER
from damselfly.wire.told_errors import revive

RETURN_S: Final = 60.0  # a daemon that restarts is back sooner

OnProgress = Callable[[int, int], None]


@dataclass(slots=True)
class _Told:
    """What a host was told to warm."""

    spec: TaskSpec
    token: str
    on_progress: OnProgress
    end: asyncio.Future[int]
    waiters: int = 0
    gone: asyncio.TimerHandle | None = field(default=None)


class HostWarming:
    """Tells hosts to warm tasks."""

    def __init__(
        self,
        *,
        hosts: Callable[[], list[Host]],
        post: Callable[[HostId, wire.SuperNodeMessage], None],
    ) -> None:
        self.hosts = hosts
        self._post = post
        self._told: dict[tuple[HostId, TaskId], _Told] = {}

    async def warm(self, host_id: HostId, spec: TaskSpec, on_progress: OnProgress) -> int:
        """Return the length of a task when a host has it whole.

        Raises:
            DamselflyError: It cannot have it, or went away and stayed away.
        """
        key = (host_id, spec.task_id)
        told = self._told.get(key)
        if told is None:
            end: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            end.add_done_callback(lambda each: each.cancelled() or each.exception())
            told = self._told[key] = _Told(spec, secrets.token_hex(16), on_progress, end)
            self._tell(host_id, told)
        told.waiters += 1
        try:
            return await asyncio.shield(told.end)
        finally:
            told.waiters -= 1
            if not told.waiters:
                self._forget(key, told)

    def _tell(self, host_id: HostId, told: _Told) -> None:
        if host_id not in {host.host_id for host in self.hosts()}:
            self.on_host_lost(host_id)
            return
        spec = told.spec
        self._post(
            host_id,
            wire.Warm(
                task_id=spec.task_id,
                url=identity_url(spec.url, spec.filtered_query),
                digest=str(spec.digest or ""),
                task_tag=spec.tag,
                filtered_query=spec.filtered_query,
                token=told.token,
            ),
        )

    def _forget(self, key: tuple[HostId, TaskId], told: _Told) -> None:
        if self._told.get(key) is told:
            del self._told[key]
        if told.gone is not None:
            told.gone.cancel()
        if not told.end.done():
            self._post(key[0], wire.StopWarming(task_id=key[1]))
            told.end.cancel()

    # --- what the SuperNode tells

    def spec_of(self, host_id: HostId, spec: TaskSpec) -> TaskSpec | None:
        """Return what a join stands for if it is one that was told; None: a live one."""
        told = self._told.get((host_id, spec.task_id))
        shown = dict(spec.headers).get(WARM_HEADER, "")
        if told is None or not secrets.compare_digest(shown.encode(), told.token.encode()):
            return None
        return told.spec

    def on_host(self, host_id: HostId) -> None:
        """A host is here, perhaps again."""
        for (told_host, _), told in self._told.items():
            if told_host == host_id:
                if told.gone is not None:
                    told.gone.cancel()
                    told.gone = None
                self._tell(host_id, told)

    def on_host_lost(self, host_id: HostId) -> None:
        """A host went away; it may come back."""
        loop = asyncio.get_running_loop()
        for (told_host, _), told in self._told.items():
            if told_host == host_id and told.gone is None:
                told.gone = loop.call_later(RETURN_S, self._give_up, told)

    @staticmethod
    def _give_up(told: _Told) -> None:
        if not told.end.done():
            reason = f"it went away, and was not back within {RETURN_S:g} s"
            told.end.set_exception(TaskRejectedError(reason=reason))

    def on_warmed(self, host_id: HostId, message: wire.Warmed) -> None:
        """A host said how far it is."""
        told = self._told.get((host_id, TaskId(message.task_id)))
        if told is None or told.end.done():
            return
        told.on_progress(message.done_bytes, message.size_bytes)
        if message.is_whole:
            told.end.set_result(message.size_bytes)
        elif message.error:
            error: DamselflyError = revive(message.error, message.message)
            told.end.set_exception(error)
