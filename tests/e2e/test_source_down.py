"""The source is down, or forbidden, while the swarm or a cache has the content."""

import asyncio
import random
from collections.abc import AsyncIterator

import aiohttp
import pytest

from e2e.processes import Running, Site, dfget
from fakes.source import FakeSource

pytestmark = pytest.mark.slow

DATA = random.Random(5).randbytes(4 << 20)
AT_ONCE = '[supernode.source]\nfreshness_window = "0s"\nretries_max = 0\n'


@pytest.fixture
async def source() -> AsyncIterator[FakeSource]:
    async with FakeSource() as source:
        source.add("/f", DATA)
        yield source


async def a_supernode(site: Site, settings: str, *flags: str) -> Running:
    config = site.path("config.toml")
    config.write_text(settings)
    return await site.supernode("--config", str(config), *flags)


async def fetched_before(site: Site, supernode: Running) -> str:
    """Let a first host download from a source that is down when this returns; give the URL."""
    async with FakeSource() as short_lived:
        short_lived.add("/f", DATA)
        url = short_lived.url("/f")
        first = await dfget(url, "-O", site.path("first"), "--supernode", supernode.address)
    assert first.code == 0, first.err
    return url


async def all_is_read(supernode: Running) -> None:
    """Wait until a SuperNode has read its source to the end."""
    async with asyncio.timeout(20), aiohttp.ClientSession() as client:
        while True:
            async with client.get(f"http://{supernode.address}/api/v1/tasks") as answer:
                if any(task["is_sealed"] for task in (await answer.json())["tasks"]):
                    return
            await asyncio.sleep(0.02)


async def test_new_host_is_told_that_the_copy_is_not_confirmed(site: Site) -> None:
    supernode = await a_supernode(site, AT_ONCE)
    url = await fetched_before(site, supernode)

    ended = await dfget(url, "-O", site.path("out"), "--supernode", supernode.address)

    assert ended.code == 11
    assert "serve_stale" in ended.err
    assert not site.path("out").exists()


async def test_new_host_gets_what_the_source_confirmed_just_now(site: Site) -> None:
    supernode = await a_supernode(site, '[supernode.source]\nfreshness_window = "1h"\n')
    url = await fetched_before(site, supernode)

    ended = await dfget(url, "-O", site.path("out"), "--supernode", supernode.address)

    assert ended.code == 0, ended.err
    assert not ended.json["is_stale"]
    assert site.path("out").read_bytes() == DATA


async def test_new_host_gets_a_stale_copy_if_the_settings_say_so(site: Site) -> None:
    supernode = await a_supernode(site, AT_ONCE + 'serve_stale = "unreachable"\n')
    url = await fetched_before(site, supernode)

    ended = await dfget(url, "-O", site.path("out"), "--supernode", supernode.address)

    assert ended.code == 0, ended.err
    assert ended.json["is_stale"]
    assert site.path("out").read_bytes() == DATA


async def test_host_joins_a_swarm_whose_source_went_down_and_nobody_loses_anything(
    site: Site,
) -> None:
    supernode = await a_supernode(site, AT_ONCE, "--upload-rate", "1MiB")
    async with FakeSource() as short_lived:
        short_lived.add("/f", DATA)
        url = short_lived.url("/f")
        first = asyncio.ensure_future(
            dfget(url, "-O", site.path("first"), "--supernode", supernode.address)
        )
        await all_is_read(supernode)  # ... and little has been given

    second = await dfget(url, "-O", site.path("second"), "--supernode", supernode.address)

    assert (await first).code == 0, first.result().err
    assert second.code == 0, second.err
    assert second.json["is_stale"]
    assert site.path("first").read_bytes() == site.path("second").read_bytes() == DATA


async def test_daemon_without_supernode_means_it_that_the_source_is_forbidden(
    site: Site, source: FakeSource
) -> None:
    daemon = await site.daemon("host", "")

    ended = await dfget(
        *(source.url("/f"), "-O", site.path("out"), "--socket", daemon.socket, "--no-source")
    )

    assert ended.code == 51
    assert "--no-source" in ended.err
    assert not source.requests


async def test_requester_who_forbids_the_source_waits_with_one_who_allows_it(
    site: Site, source: FakeSource
) -> None:
    """The other one causes the request; when it is gone, nobody goes on reading the source."""
    content = source.add("/f", DATA, stall_after_bytes=2 << 20)
    supernode = await site.supernode()
    daemon = await site.daemon("host", supernode.address)
    await supernode.kill()
    url, flags = source.url("/f"), ("--socket", daemon.socket)
    forbidding = asyncio.ensure_future(
        dfget(url, "-O", site.path("forbidding"), *flags, "--no-source")
    )
    allowing = asyncio.ensure_future(dfget(url, "-O", site.path("allowing"), *flags))
    await content.has_stalled.wait()
    allowing.cancel()  # which kills it
    await asyncio.wait([allowing])
    after = await forbidding
    content.release()

    assert after.code == 51
    assert "--no-source" in after.err
    assert source.count() == 1
