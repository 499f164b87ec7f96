"""The APIs by which Harbor's own P2P preheat drives us as it drives Dragonfly or Kraken.

`/healthy` is answered by the SuperNode anyway. Where Harbor sets no scope, what it asks for
goes where the settings say; `all_peers` is all hosts.
"""

from datetime import UTC, datetime
from typing import Final

import msgspec
from aiohttp import web

from damselfly.clock import wall_s
from damselfly.core.preheating.jobs import SUPERNODE_PLACE, Job
from damselfly.faces.api.access import Access
from damselfly.faces.api.answers import json_answer, told
from damselfly.services.options import PreheatOptions
from damselfly.services.preheating.preheating import Preheating
from damselfly.services.preheating.pushed import Pushed
from damselfly.services.preheating.secrets_kept import Secrets
from damselfly.services.preheating.swarm import Warmer
from damselfly.wire.preheat_messages import PreheatRequest
from damselfly.wire.provider_messages import decode_job, decode_old, old_job, provider_job
from damselfly.wire.webhooks.distribution import parse_kraken

TARGETS: Final = {
    "single_seed_peer": SUPERNODE_PLACE,
    "all_seed_peers": SUPERNODE_PLACE,
    "all_peers": "share:100%",
}


class ProvidersApi:
    """Answers Harbor."""

    def __init__(
        self,
        options: PreheatOptions,
        preheating: Preheating,
        pushed: Pushed,
        *,
        warmer: Warmer,
        access: Access,
        webhook_access: Access,
    ) -> None:
        self._options = options
        self._preheating = preheating
        self._pushed = pushed
        self._warmer = warmer
        self._access = access
        self._webhook_access = webhook_access

    def add_routes(self, app: web.Application) -> None:
        """Add its paths."""
        app.router.add_post("/oapi/v1/jobs", told(self._start))
        app.router.add_get("/oapi/v1/jobs/{job_id}", told(self._tell))
        app.router.add_get("/_ping", told(self._ping))
        app.router.add_get("/health", told(self._ping))
        app.router.add_post("/preheats", told(self._start_old))
        app.router.add_get("/preheats/{job_id}", told(self._tell_old))
        app.router.add_post("/registry/notifications", told(self._kraken))

    async def _ping(self, _: web.Request) -> web.Response:
        return web.Response(text="OK\n")

    async def _start(self, request: web.Request) -> web.Response:
        self._access.check(request)
        asked, scope = decode_job(await request.read())
        return json_answer(self._seen(await self._submit(asked, scope)))

    async def _tell(self, request: web.Request) -> web.Response:
        self._access.check(request)
        return json_answer(self._seen(self._preheating.job(request.match_info["job_id"])))

    async def _start_old(self, request: web.Request) -> web.Response:
        self._access.check(request)
        job = await self._submit(decode_old(await request.read()), "")
        return json_answer({"ID": str(job.job_id), **self._old(job)}, status=200)

    async def _tell_old(self, request: web.Request) -> web.Response:
        self._access.check(request)
        job = self._preheating.job(request.match_info["job_id"])
        return json_answer(self._old(job))

    async def _kraken(self, request: web.Request) -> web.Response:
        body = await request.read()
        self._webhook_access.check(request, body=body)
        webhook = parse_kraken(body)
        await self._pushed.take_in("kraken", webhook.pushes, now_s=wall_s())
        return web.Response(text="OK\n")

    async def _submit(self, asked: PreheatRequest, scope: str) -> Job:
        asked.target = TARGETS.get(scope, self._options.target)
        asked.platforms = asked.platforms or list(self._options.platforms)
        secrets = Secrets(asked.secret_headers(), asked.secret_urls())
        (wanted,) = asked.wanted()
        job, _ = await self._preheating.submit(wanted, secrets)
        return job

    def _seen(self, job: Job) -> object:
        addresses = {
            str(host.host_id): host.address.rpartition(":")[0] for host in self._warmer.hosts()
        }
        return provider_job(
            job, address_of=lambda place: addresses.get(place, ""), time_of=_rfc3339
        )

    @staticmethod
    def _old(job: Job) -> dict[str, str]:
        told_job: dict[str, str] = msgspec.to_builtins(old_job(job, time_of=_rfc3339))
        return told_job


def _rfc3339(wall: float) -> str:
    return datetime.fromtimestamp(wall, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
