"""`/api/v1/preheats`: jobs are started, told, cancelled."""

from aiohttp import web

from damselfly.faces.api.access import Access
from damselfly.faces.api.answers import json_answer, told
from damselfly.services.preheating.preheating import Preheating
from damselfly.services.preheating.schedules import check_cron
from damselfly.services.preheating.secrets_kept import Secrets
from damselfly.wire.preheat_messages import JobsSeen, decode_preheat, job_seen

JOBS_TOLD_MAX = 1000


class PreheatsApi:
    """Answers what is asked of jobs."""

    def __init__(self, preheating: Preheating, access: Access) -> None:
        self._preheating = preheating
        self._access = access

    def add_routes(self, app: web.Application) -> None:
        """Add its paths."""
        app.router.add_post("/api/v1/preheats", told(self._post))
        app.router.add_get("/api/v1/preheats", told(self._list))
        app.router.add_get("/api/v1/preheats/{job_id}", told(self._show))
        app.router.add_delete("/api/v1/preheats/{job_id}", told(self._cancel))

    async def _post(self, request: web.Request) -> web.Response:
        """Start a job, or the same one again: 201 if it is new, else 200."""
        self._access.check(request)
        asked = decode_preheat(await request.read())
        if asked.cron:
            check_cron(asked.cron)
        secrets = Secrets(asked.secret_headers(), asked.secret_urls())
        wanted = asked.wanted()
        begun = [self._preheating.accept(each, secrets) for each in wanted]
        await self._preheating.keep([job for job, _ in begun])
        seen = [job_seen(job) for job, _ in begun]
        status = 201 if any(is_new for _, is_new in begun) else 200
        return json_answer(JobsSeen(preheats=seen), status=status)

    async def _list(self, request: web.Request) -> web.Response:
        self._access.check(request)
        state = request.query.get("state", "")
        jobs = [job for job in self._preheating.jobs() if state in ("", job.state.value)]
        seen = [job_seen(job, has_contents=False) for job in jobs[:JOBS_TOLD_MAX]]
        return json_answer(JobsSeen(preheats=seen))

    async def _show(self, request: web.Request) -> web.Response:
        self._access.check(request)
        return json_answer(job_seen(self._preheating.job(request.match_info["job_id"])))

    async def _cancel(self, request: web.Request) -> web.Response:
        self._access.check(request)
        return json_answer(job_seen(self._preheating.cancel(request.match_info["job_id"])))
