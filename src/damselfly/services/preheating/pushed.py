"""From push events to jobs: each once, whoever sends it again."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from damselfly.core.digest import Digest
from damselfly.core.preheating.jobs import Job, Kind, Wanted
from damselfly.core.preheating.seen_events import Judgement, SeenEvents
from damselfly.core.urls import WEB, normalise_url
from damselfly.errors import StorageError, TaskSpecError
from damselfly.services.options import PreheatOptions
from damselfly.services.preheating.preheating import Preheating
from damselfly.services.preheating.secrets_kept import NO_SECRETS, Secrets
from damselfly.telemetry.log import get_log
from damselfly.telemetry.metrics import Metrics
from damselfly.wire import session_messages as wire
from damselfly.wire.image_names import is_manifest_url
from damselfly.wire.manifest_children import MANIFEST_TYPES
from damselfly.wire.webhooks.pushes import Push

PRIORITY_OF_PUSHES: Final = 6  # somebody is about to pull it

log = get_log()


@dataclass(slots=True)
class Outcome:
    """What became of some events."""

    accepted: int = 0
    repeated: int = 0
    outdated: int = 0


class Pushed:
    """Starts a job for what was pushed: a layer at once, an image when its manifest is there."""

    def __init__(
        self,
        options: PreheatOptions,
        preheating: Preheating,
        seen: SeenEvents,
        *,
        metrics: Metrics,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._options = options
        self._preheating = preheating
        self._seen = seen
        self._metrics = metrics
        self._tasks = tasks

    async def take_in(
        self, sender: str, pushes: Iterable[Push], secrets: Secrets = NO_SECRETS, *, now_s: float
    ) -> Outcome:
        """Start jobs for events that have not been seen; they survive a kill.

        Args:
            sender: Whose events they are: two senders may use the same ids.
            pushes: What was pushed.
            secrets: What its source is shown.
            now_s: What the clock on the wall says.

        Raises:
            StorageError: They cannot be written down, and will be taken in when sent again.
        """
        outcome, jobs, events = Outcome(), list[Job](), list[str]()
        for push in pushes:
            event_id = f"{sender} {push.event_id}" if push.event_id else ""
            judgement = self._judge(event_id, push, now_s)
            self._metrics.push_events.labels(judgement.name.lower()).inc()
            match judgement:
                case Judgement.REPEATED:
                    outcome.repeated += 1
                    continue
                case Judgement.OUTDATED:
                    outcome.outdated += 1
                    continue
                case Judgement.FRESH:
                    outcome.accepted += 1
            jobs.append(self._preheating.accept(self._wanted(push), secrets)[0])
            if event_id:
                self._seen.take_in(event_id, now_s=now_s)
                events.append(event_id)
        try:
            if jobs:
                await self._preheating.keep(jobs, events)
        except StorageError:
            for event_id in events:
                self._seen.forget(event_id)
            raise
        return outcome

    def through_a_host(self, message: wire.Pushed) -> None:
        """Something was pushed through a host's mirror; what cannot be is passed over."""
        is_manifest = message.media_type in MANIFEST_TYPES
        try:
            url = normalise_url(message.url, schemes=WEB)
            digest = str(Digest.parse(message.digest))
        except TaskSpecError as exc:
            log.warning("push_refused", reason=str(exc))
            return
        if is_manifest and message.has_tag and is_manifest_url(url):
            push = Push(image=url, digest=digest)
        else:
            push = Push(url=url, digest=digest, accept=message.media_type if is_manifest else "")
        self._metrics.push_events.labels("fresh").inc()
        job, _ = self._preheating.accept(self._wanted(push), Secrets(message.headers))
        self._tasks.create_task(self._keep(job), name=f"keep {job.job_id}")

    async def _keep(self, job: Job) -> None:
        try:
            await self._preheating.keep([job])
        except StorageError as exc:
            log.warning("push_refused", reason=str(exc))

    def _judge(self, event_id: str, push: Push, now_s: float) -> Judgement:
        if not event_id:
            return Judgement.FRESH
        return self._seen.judge(event_id, told_s=push.told_s, now_s=now_s)

    def _wanted(self, push: Push) -> Wanted:
        if push.image:
            return Wanted(
                kind=Kind.IMAGE,
                names=(push.image,),
                platforms=self._options.platforms,
                target=self._options.target,
                priority=PRIORITY_OF_PUSHES,
            )
        return Wanted(
            kind=Kind.BLOB,
            names=(push.url,),
            digest=str(Digest.parse(push.digest)) if push.digest else "",
            target=self._options.target,
            priority=PRIORITY_OF_PUSHES,
        )
