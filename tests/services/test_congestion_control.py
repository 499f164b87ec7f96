"""Uploads use the congestion control of the settings, and what the kernel refuses is no error."""

import socket
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from damselfly.services.options import CacheOptions, UploadOptions
from damselfly.services.peering.uploads import Uploads
from damselfly.services.peering.web_server import serving
from damselfly.services.stores import open_store
from damselfly.telemetry.metrics import Metrics
from storage.builders import a_content, an_edition, fill


async def congestion_control_of_an_upload(folder: Path, name: str) -> str:
    """Fetch a block, and return by which name the kernel knows how it was sent."""
    store = open_store(folder, CacheOptions(reserve_bytes=0))
    edition = an_edition()
    fill(store.open(edition), a_content())
    options = UploadOptions(congestion_control=name)
    uploads = Uploads(store, options, slots=1, trickle_bytes_per_s=1.0, metrics=Metrics())
    used: list[bytes] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        response = await uploads.handle(request)
        assert request.transport is not None
        sock = request.transport.get_extra_info("socket")
        used.append(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16))
        return response

    app = web.Application()
    app.router.add_get("/v1/editions/{edition_id}/blocks/{block_index}", handle)
    async with serving(app, "127.0.0.1:0") as address, aiohttp.ClientSession() as client:
        url = f"http://{address}/v1/editions/{edition.edition_id}/blocks/0"
        async with client.get(url) as answer:
            assert answer.status == 200
            await answer.read()
    store.close()
    return used[0].rstrip(b"\0").decode()


async def test_an_upload_uses_what_the_settings_say(tmp_path: Path) -> None:
    assert await congestion_control_of_an_upload(tmp_path, "reno") == "reno"


async def test_what_the_kernel_does_not_know_leaves_its_own(tmp_path: Path) -> None:
    usual = await congestion_control_of_an_upload(tmp_path / "usual", "")
    assert await congestion_control_of_an_upload(tmp_path / "other", "nonsense") == usual


def test_a_name_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="congestion_control"):
        UploadOptions(congestion_control="two words")
