"""What operators ask over HTTP: health, metrics, tasks, hosts."""

from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp import web

from damselfly.telemetry.metrics import Metrics

Rows = Callable[[], list[dict[str, Any]]]


def add_admin_routes(
    app: web.Application,
    *,
    metrics: Metrics,
    tasks: Rows,
    hosts: Rows,
    health: Callable[[], dict[str, Any]],
) -> None:
    """Add `/healthy`, `/metrics`, `/api/v1/tasks` and `/api/v1/hosts`."""

    async def answer_health(_: web.Request) -> web.Response:
        return _json({"status": "ok", **health()})

    async def answer_metrics(_: web.Request) -> web.Response:
        content_type = "text/plain; version=0.0.4; charset=utf-8"
        return web.Response(body=metrics.exposition(), headers={"Content-Type": content_type})

    async def answer_tasks(_: web.Request) -> web.Response:
        return _json({"tasks": tasks()})

    async def answer_hosts(_: web.Request) -> web.Response:
        return _json({"hosts": hosts()})

    app.router.add_get("/healthy", answer_health)
    app.router.add_get("/metrics", answer_metrics)
    app.router.add_get("/api/v1/tasks", answer_tasks)
    app.router.add_get("/api/v1/hosts", answer_hosts)


def _json(value: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(value) + b"\n", content_type="application/json")
