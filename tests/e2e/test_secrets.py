"""Nothing that is a secret is ever shown or written down: not in any output, file or number.

One secret is planted wherever one can be: a password in the URL, a signed query, a header, a
redirect's target, a request that is no HTTP. Then everything is searched for it.
"""

import asyncio
import base64
import random
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from core.test_secret_reprs import SECRET
from e2e.processes import BIN, Ended, Running, Site, dfget, run
from e2e.test_garbage import Target
from fakes.source import FakeSource

pytestmark = pytest.mark.slow

HEADER = ("--header", f"X-Token: {SECRET}")
DATA = random.Random(9).randbytes(3 << 20)
FORMS = [
    SECRET.encode(),
    base64.b64encode(f"user:{SECRET}".encode()),
    base64.b64encode(SECRET.encode()),
    SECRET.encode().hex().encode(),
]


@pytest.fixture
async def source() -> AsyncIterator[FakeSource]:
    async with FakeSource() as source:
        basic = "Basic " + base64.b64encode(f"user:{SECRET}".encode()).decode()
        source.add("/private", DATA, required_header=("Authorization", basic))
        source.add("/token", DATA, required_header=("X-Token", SECRET))
        source.add("/moved", b"", redirect_to=f"/token?signature={SECRET}")
        source.add("/endless", b"", redirect_to=f"/endless?signature={SECRET}")
        source.add("/broken", DATA, headers={"Content-Encoding": "gzip"})
        source.add("/resets", DATA, reset_after_bytes=MIB)
        source.add("/stalls", DATA, stall_after_bytes=2 * MIB)
        yield source


MIB = 1 << 20


def secret_url(source: FakeSource, path: str) -> str:
    """Return a URL with a password and a signature."""
    url = source.url(path).replace("://", f"://user:{SECRET}@")
    return f"{url}?signature={SECRET}&expires=1#{SECRET}"


async def all_ways(site: Site, source: FakeSource, where: tuple[str, ...]) -> list[Ended]:
    """Download what works and what does not; the output of a call is left where it is."""
    secrets = (*HEADER, *where)
    unreachable = f"user:{SECRET}@127.0.0.1:1/f?signature={SECRET}"
    calls = [
        (secret_url(source, "/private"), *where),
        *((secret_url(source, path), *secrets) for path in ("/token", "/moved", "/endless")),
        *((secret_url(source, path), *secrets) for path in ("/nothing", "/broken", "/resets")),
        (secret_url(source, "/stalls"), "--timeout", "2s", *secrets),
        *((f"{scheme}://{unreachable}", *secrets) for scheme in ("http", "ftp")),
        (secret_url(source, "/token"), "--digest", "sha256:" + "0" * 64, *secrets),
    ]
    async with asyncio.TaskGroup() as tasks:
        running = [
            tasks.create_task(dfget(*call, "-O", site.path(f"output-{number}")))
            for number, call in enumerate(calls)
        ]
    return [each.result() for each in running]


async def bad_calls(site: Site, source: FakeSource) -> list[Ended]:
    """Ask for what makes no sense."""
    calls = [
        (f"http://user:{SECRET}#@127.0.0.1:port/f",),
        (f"gopher://user:{SECRET}@127.0.0.1/f?signature={SECRET}",),
        (source.url("/token"), "--header", f"X Token: {SECRET}"),
        (source.url("/token"), "--header", SECRET),
        (source.url("/token"), "--header", f"Range: {SECRET}"),
        (source.url("/token"), "--header", f"X-Token: {SECRET}\nX-Other: {SECRET}"),
    ]
    return [await dfget(*call, "-O", site.path("output")) for call in calls]


async def texts_of(*running: Running) -> list[str]:
    """Return what processes tell whoever asks."""
    texts = []
    async with aiohttp.ClientSession() as client:
        for each in running:
            for path in ("/metrics", "/healthy", "/api/v1/tasks", "/api/v1/hosts"):
                async with client.get(f"http://{each.address}{path}") as answer:
                    texts.append(await answer.text())
    return texts


def places_of_secret(folder: Path) -> list[str]:
    """Return the files below a folder in which a secret stands, and those named after it."""
    found = []
    for path in folder.rglob("*"):
        if SECRET in str(path):
            found.append(f"the name {path}")
        if path.is_file():
            data = path.read_bytes()
            found += [f"{path}: {form!r}" for form in FORMS if form in data]
    return found


async def test_secret_is_in_no_output_file_or_number(site: Site, source: FakeSource) -> None:
    config = site.path("config.toml")
    config.write_text("[supernode.source]\nretries_max = 0\n[daemon.source]\nretries_max = 0\n")
    flags = ("--log-level", "debug", "--config", str(config))
    supernode = await site.supernode(*flags)
    daemon = await site.daemon("host", supernode.address, *flags)
    alone = await site.daemon("alone", "", *flags)
    for target in (Target(supernode.address, supernode), Target(daemon.socket, daemon)):
        data = f"GET / HTTP/1.1\r\nAuthorization: Bearer {SECRET}\0\r\n\r\n".encode()
        await asyncio.to_thread(target.send, data)

    ended = [
        each
        for where in (
            ("--socket", daemon.socket),
            ("--socket", alone.socket),
            ("--supernode", supernode.address),
        )
        for each in await all_ways(site, source, where)
    ]
    ended += await bad_calls(site, source)
    noisy = await run(
        str(BIN / "dfget"), secret_url(source, "/token"), "-O", str(site.path("x")), *HEADER
    )
    texts = await texts_of(supernode, daemon, alone)

    assert any(SECRET in str(seen) for seen in source.headers_seen), "it reached the source"
    assert {each.code for each in ended} >= {0, 2, 11, 12, 13, 50, 52}
    told = [part for each in (*ended, noisy) for part in (each.out, each.err)]
    assert [text for text in (*told, *texts) if SECRET in text] == []
    assert places_of_secret(site.folder) == []
