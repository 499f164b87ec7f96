"""The OpenAPI document of `/api/v1`, made from the messages themselves."""

from functools import cache
from importlib.metadata import version
from typing import Any, Final

import msgspec

from damselfly.wire.cache_messages import CacheChanged, CacheListing, CacheOrder
from damselfly.wire.preheat_messages import (
    ErrorTold,
    JobSeen,
    JobsSeen,
    PreheatRequest,
    WebhookTold,
)

_NAMES: Final = "#/components/schemas/{name}"


@cache
def openapi() -> dict[str, Any]:
    """Return the document."""
    preheats = (PreheatRequest, JobSeen, JobsSeen, ErrorTold, WebhookTold)
    caches = (CacheListing, CacheOrder, CacheChanged)
    _, schemas = msgspec.json.schema_components((*preheats, *caches), ref_template=_NAMES)
    number = {"name": "job_id", "in": "path", "required": True, "schema": {"type": "integer"}}
    state = {"name": "state", "in": "query", "schema": {"type": "string"}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "damselfly SuperNode", "version": version("damselfly")},
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
        "paths": {
            "/api/v1/preheats": {
                "post": {
                    "summary": "Start a preheat, or the same one again",
                    "requestBody": {"required": True, "content": _json("PreheatRequest")},
                    "responses": {
                        **_answers("JobsSeen", "201", "200"),
                        **_answers("ErrorTold", "400", "401", "413", "507"),
                    },
                },
                "get": {
                    "summary": "Jobs, the newest first, without their contents",
                    "parameters": [state],
                    "responses": {**_answers("JobsSeen", "200"), **_answers("ErrorTold", "401")},
                },
            },
            "/api/v1/preheats/{job_id}": {
                "parameters": [number],
                "get": {
                    "summary": "A job with each content at each place",
                    "responses": _one_job(),
                },
                "delete": {
                    "summary": "Cancel a job and its schedule",
                    "responses": _one_job(),
                },
            },
            "/api/v1/cache": _cache(),
            "/webhooks/{sender}": _webhooks(),
        },
    }


def _cache() -> dict[str, Any]:
    return {
        "get": {
            "summary": "What is in the cache, the last used first",
            "responses": {**_answers("CacheListing", "200"), **_answers("ErrorTold", "401")},
        },
        "post": {
            "summary": "Pin, unpin, remove or verify entries",
            "requestBody": {"required": True, "content": _json("CacheOrder")},
            "responses": {
                **_answers("CacheChanged", "200"),
                **_answers("ErrorTold", "400", "401", "404", "409"),
            },
        },
    }


def _webhooks() -> dict[str, Any]:
    return {
        "parameters": [
            {
                "name": "sender",
                "in": "path",
                "required": True,
                "schema": {"enum": ["distribution", "harbor", "quay", "dockerhub", "generic"]},
            }
        ],
        "post": {
            "summary": "What was pushed, as its sender tells it",
            "responses": {
                **_answers("WebhookTold", "200"),
                **_answers("ErrorTold", "400", "401", "413", "507"),
            },
        },
    }


def _json(name: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": _NAMES.format(name=name)}}}


def _answers(name: str, *statuses: str) -> dict[str, Any]:
    return {status: {"description": name, "content": _json(name)} for status in statuses}


def _one_job() -> dict[str, Any]:
    return {**_answers("JobSeen", "200"), **_answers("ErrorTold", "401", "404")}
