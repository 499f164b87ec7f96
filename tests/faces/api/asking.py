"""What people and registries ask of a SuperNode's API, inside the test's process."""

import asyncio
import contextlib
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp

from services.hosts import a_supernode

OVER = ("success", "failure", "cancelled")
SOON_S = 20.0


class Told(NamedTuple):
    status: int
    body: Any


class Api:
    """A client of one SuperNode."""

    def __init__(self, client: aiohttp.ClientSession, address: str) -> None:
        self._client = client
        self.address = address

    async def ask(
        self,
        method: str,
        path: str,
        value: Any = None,  # noqa: ANN401  # what becomes JSON
        **headers: str,
    ) -> Told:
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        body = None if value is None else io.BytesIO(data)
        given = {name.replace("_", "-"): text for name, text in headers.items()}
        url = f"http://{self.address}{path}"
        async with self._client.request(method, url, data=body, headers=given) as response:
            text = await response.read()
            is_json = response.content_type == "application/json"
            return Told(response.status, json.loads(text) if is_json else text.decode())

    async def preheat(self, **asked: Any) -> dict[str, Any]:  # noqa: ANN401
        """Start one job, and return it as it is at once."""
        told = await self.ask("POST", "/api/v1/preheats", asked)
        assert told.status in {200, 201}, told
        (job,) = told.body["preheats"]
        return dict(job)

    async def job(self, job_id: int) -> dict[str, Any]:
        told = await self.ask("GET", f"/api/v1/preheats/{job_id}")
        assert told.status == 200, told
        return dict(told.body)

    async def ended(self, job_id: int) -> dict[str, Any]:
        """Return a job once it is over."""
        async with asyncio.timeout(SOON_S):
            while (job := await self.job(job_id))["state"] not in OVER:
                await asyncio.sleep(0.01)
        return job

    async def all_ended(self) -> list[dict[str, Any]]:
        """Return all jobs once they are over, the oldest first."""
        async with asyncio.timeout(SOON_S):
            while True:
                told = await self.ask("GET", "/api/v1/preheats")
                jobs = told.body["preheats"]
                if all(job["state"] in OVER for job in jobs):
                    return list(reversed(jobs))
                await asyncio.sleep(0.01)

    async def sees(self, *host_ids: str) -> None:
        """Wait until these hosts are here, and no others."""
        async with asyncio.timeout(SOON_S):
            while {
                host["host_id"] for host in (await self.ask("GET", "/api/v1/hosts")).body["hosts"]
            } != set(host_ids):
                await asyncio.sleep(0.01)

    async def held(self) -> dict[str, bool]:
        """Return {URL: is it whole} of what the SuperNode has."""
        told = await self.ask("GET", "/api/v1/tasks")
        return {task["url"]: task["is_sealed"] for task in told.body["tasks"]}


@contextlib.asynccontextmanager
async def an_api(folder: Path, **options: Any) -> AsyncIterator[Api]:  # noqa: ANN401
    """Run a SuperNode inside the block; the options are its own."""
    async with (
        a_supernode(folder, **options) as address,
        aiohttp.ClientSession() as client,
    ):
        yield Api(client, address)


def states(job: dict[str, Any]) -> dict[str, dict[str, str]]:
    """Return {digest or URL: {place: state}}."""
    return {
        content["digest"] or content["url"]: {
            place["place"]: place["state"] for place in content["places"]
        }
        for content in job["contents"]
    }
