"""Pushes through the mirror: to the registry and back unchanged, and told when they are done.

A blob that the registry has taken is told to the SuperNode, which preheats it while the next one
is on its way. What a client shows the registry is shown with it, for that reading alone.
"""

from collections.abc import AsyncIterator, Callable
from typing import Final
from urllib.parse import parse_qs

from aiohttp import web

from damselfly.core.digest import Digest
from damselfly.core.task import TaskSpec
from damselfly.core.urls import display_url
from damselfly.errors import TaskSpecError
from damselfly.faces.proxy.asked import Asked
from damselfly.faces.proxy.registry_answers import pass_on
from damselfly.faces.proxy.registry_tokens import VERSION
from damselfly.wire.session_messages import Pushed
from damselfly.wire.upload_paths import PushPath, location_here

CREATED: Final = 201

_PASSED_WITH: Final = ("Authorization", "Accept", "User-Agent")
_OF_THE_BODY: Final = ("Content-Type", "Content-Length", "Content-Range")


class Pushing:
    """Passes pushes on."""

    def __init__(self, on_pushed: Callable[[Pushed], None]) -> None:
        self._on_pushed = on_pushed

    async def carry_out(self, asked: Asked, path: PushPath) -> web.StreamResponse:
        """Pass a request on, and its answer back.

        Raises:
            SourceError: The registry does not answer.
        """
        request, registry = asked.request, asked.registry
        base = registry.bases[-1]  # its mirrors are copies
        theirs = registry.url("", asked.path).removesuffix("tags/list")
        url = f"{base}{theirs}{path.rest}" + (f"?{asked.query}" if asked.query else "")
        spec = TaskSpec(url=url, headers=asked.headers(*_PASSED_WITH))
        given = {name: request.headers[name] for name in _OF_THE_BODY if name in request.headers}
        body = _parts(request) if request.can_read_body else None
        told = await asked.source.ask(request.method, spec, given, body=body)
        headers = dict(VERSION)
        if location := told.headers.get("Location"):
            headers["Location"] = location_here(
                location,
                base=base,
                theirs=theirs,
                ours=f"/v2/{asked.name}/",
                registry=request.query.get("ns", ""),
            )
        if told.status == CREATED:
            digest = told.headers.get("Docker-Content-Digest", "")
            self._tell(asked, path, f"{base}{theirs}", digest)
        return await pass_on(request, told, headers=headers, url=display_url(url))

    def _tell(self, asked: Asked, path: PushPath, repository: str, told: str) -> None:
        """Tell what the registry has from now on."""
        request = asked.request
        headers = asked.headers("Authorization")
        if path.is_upload:
            query = parse_qs(request.rel_url.raw_query_string)
            named = [*query.get("digest", ()), *query.get("mount", ())]
            digest = _digest([*named, told])
            if digest:
                pushed = Pushed(url=f"{repository}blobs/{digest}", digest=digest, headers=headers)
                self._on_pushed(pushed)
        elif path.rest.startswith("manifests/") and (digest := _digest([told])):
            self._on_pushed(
                Pushed(
                    url=f"{repository}manifests/{digest}",
                    digest=digest,
                    media_type=request.content_type,
                    has_tag=":" not in path.rest,
                    headers=headers,
                )
            )


def _digest(texts: list[str]) -> str:
    """Return the first text that is a digest."""
    for text in texts:
        try:
            return str(Digest.parse(text))
        except TaskSpecError:
            continue
    return ""


async def _parts(request: web.Request) -> AsyncIterator[bytes]:
    async for part in request.content.iter_any():
        yield part
