"""Hosts that are told to warm a task, and how far they are.

A host is told over its session, and joins the swarm of the task like any other. What the
source is shown for it stays here: the host shows a token of ours instead, which stands for what
the preheat shows. So nobody's credentials reach a host, and the host, which showed nothing to
the source, hands the content to nobody whom the source does not accept.

A host whose own rules want the content as an encrypted one alone joins that task in place of
the one that it was told: the token is good for it as well, so that it is read with what the
preheat shows, and behind live pulls like it.
"""

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

from damselfly.core.peer import Host, HostId
from damselfly.core.task import TaskId, TaskSpec
from damselfly.core.urls import identity_url
from damselfly.errors import DamselflyError, TaskRejectedError
from damselfly.services.seeding.pacing import Pace
from damselfly.wire import session_messages as wire
from damselfly.wire.session_messages import WARM_HEADER
from damselfly.wire.told_errors import revive

RETURN_S: Final = 60.0  # a daemon that restarts is back sooner

OnProgress = Callable[[int, int], None]


@dataclass(slots=True)
class _Told:
    """What a host was told to warm.

    Attributes:
        pace: Of its source, should that be read for this host alone.
        is_live: The host has joined since for somebody who waits.
    """

    spec: TaskSpec
    token: str
    pace: Pace
    on_progress: OnProgress
    end: asyncio.Future[int]
    waiters: int = 0
    is_live: bool = False
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

    async def warm(
        self, host_id: HostId, spec: TaskSpec, pace: Pace, on_progress: OnProgress
    ) -> int:
        """Return the length of a task when a host has it whole.

        Raises:
            DamselflyError: It cannot have it, or went away and stayed away.
        """
        key = (host_id, spec.task_id)
        told = self._told.get(key)
        if told is None:
            end: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            end.add_done_callback(lambda each: each.cancelled() or each.exception())
            told = self._told[key] = _Told(spec, secrets.token_hex(16), pace, on_progress, end)
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

    def on_join(self, host_id: HostId, spec: TaskSpec) -> TaskSpec | None:
        """A host joins; return what that stands for if it is as it was told; None: it is live."""
        told = self._told_of(host_id, spec)
        if told is None:
            return None
        shown = dict(spec.headers).get(WARM_HEADER, "")
        told.is_live = not secrets.compare_digest(shown.encode(), told.token.encode())
        return None if told.is_live else replace(told.spec, is_encrypted=spec.is_encrypted)

    def pace_of(self, host_id: HostId, spec: TaskSpec) -> Pace | None:
        """Return how fast the source may be read for a host that joined; None: it is live."""
        told = self._told_of(host_id, spec)
        return None if told is None or told.is_live else told.pace

    def _told_of(self, host_id: HostId, spec: TaskSpec) -> _Told | None:
        return self._told.get((host_id, replace(spec, is_encrypted=False).task_id))

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
