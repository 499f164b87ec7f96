"""Compression with real processes: less on the wire, the same bytes, kills and bad plug-ins."""

import asyncio
import json
import random

import aiohttp
import pytest

from e2e.processes import Running, Site, dfget
from fakes.source import FakeSource
from services.plugin_packages import install

pytestmark = pytest.mark.slow

MIB = 1 << 20


def words(size_bytes: int, seed: int = 1) -> bytes:
    """Return log lines: they compress, and no two are the same."""
    rng = random.Random(seed)
    lines = []
    size = 0
    while size < size_bytes:
        line = json.dumps(
            {"at": rng.randrange(10**9), "host": f"h-{rng.randrange(99)}", "event": "block_stored"}
        )
        lines.append(line)
        size += len(line) + 1
    return "\n".join(lines).encode()[:size_bytes]


def noise(size_bytes: int) -> bytes:
    return random.Random(2).randbytes(size_bytes)


async def compressing(site: Site, mode: str = "on") -> Running:
    settings = site.path("supernode.toml")
    settings.write_text(f'[supernode.compression]\nmode = "{mode}"\n')
    return await site.supernode("--config", str(settings))


async def metric(running: Running, name: str) -> float:
    """Return a metric, over all its labels."""
    async with (
        aiohttp.ClientSession() as client,
        client.get(f"http://{running.address}/metrics") as answer,
    ):
        lines = (await answer.text()).splitlines()
    return sum(
        float(line.rpartition(" ")[2])
        for line in lines
        if line.startswith((f"{name} ", f"{name}{{"))
    )


async def test_a_swarm_saves_what_compresses_and_gets_the_same_bytes(
    site: Site, source: FakeSource
) -> None:
    data, random_bytes = words(6 * MIB), noise(3 * MIB)
    source.add("/log", data)
    source.add("/noise", random_bytes)
    supernode = await compressing(site)
    daemons = [await site.daemon(f"host-{i}", supernode.address) for i in range(3)]

    for name, wanted in (("log", data), ("noise", random_bytes)):
        async with asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(
                    dfget(
                        source.url(f"/{name}"),
                        "-O",
                        site.path(f"{name}-{i}"),
                        "--socket",
                        daemon.socket,
                    )
                )
                for i, daemon in enumerate(daemons)
            ]
        assert [task.result().code for task in running] == [0] * 3
        assert all(site.path(f"{name}-{i}").read_bytes() == wanted for i in range(3))
        saved = [task.result().json["saved_bytes"] for task in running]
        if name == "log":
            assert all(each > len(data) // 2 for each in saved)
        else:
            assert saved == [0, 0, 0]

    assert source.bytes_sent == len(data) + len(random_bytes)
    assert await metric(supernode, "damselfly_bytes_sent_total") < 3 * len(random_bytes) + len(data)
    held = [len(list(site.path(f"host-{i}").glob("editions/*/*/*/packed"))) for i in range(3)]
    assert held == [1, 1, 1]  # what does not compress lies in plain
    assert await metric(daemons[0], "damselfly_bytes_saved_total") > len(data) // 2
    assert await metric(supernode, "damselfly_codec_cpu_seconds_total") > 0


async def test_a_dfget_of_its_own_and_a_second_one_through_the_mirror_read_plain_bytes(
    site: Site, source: FakeSource
) -> None:
    data = words(3 * MIB)
    source.add("/log", data)
    supernode = await compressing(site)

    ended = await dfget(
        source.url("/log"), "-O", site.path("out"), "--supernode", supernode.address
    )

    assert ended.code == 0
    assert site.path("out").read_bytes() == data
    assert ended.json["saved_bytes"] > len(data) // 2
    assert ended.json["codec_cpu_s"] > 0
    assert not list(site.folder.glob(".out*"))


async def test_a_host_without_zstd_takes_part_with_plain_blocks(
    site: Site, source: FakeSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = words(4 * MIB)
    source.add("/log", data)
    supernode = await compressing(site)
    other = await site.daemon("other", supernode.address)
    site.path("without").mkdir()
    (site.path("without") / "zstandard.py").write_text("raise ImportError('no zstd here')\n")
    monkeypatch.setenv("PYTHONPATH", str(site.path("without")))
    lacking = await site.daemon("lacking", supernode.address)

    async with asyncio.TaskGroup() as tasks:
        running = [
            tasks.create_task(
                dfget(source.url("/log"), "-O", site.path(name), "--socket", daemon.socket)
            )
            for name, daemon in (("a", other), ("b", lacking))
        ]

    assert [task.result().code for task in running] == [0, 0]
    assert site.path("a").read_bytes() == site.path("b").read_bytes() == data
    assert running[1].result().json["saved_bytes"] == 0
    assert "no zstd here" in lacking.log.read_text()


async def test_a_killed_host_and_supernode_go_on_with_their_packed_blocks(
    site: Site, source: FakeSource
) -> None:
    data = words(12 * MIB)
    source.add("/log", data)
    supernode = await compressing(site)
    daemon = await site.daemon("host", supernode.address)
    flags = ("-O", site.path("out"), "--socket", daemon.socket, "--rate", "4MiB")
    first = asyncio.ensure_future(dfget(source.url("/log"), *flags))
    packed = site.path("host")
    async with asyncio.timeout(30):
        while not any(p.stat().st_size > 20_000 for p in packed.glob("editions/*/*/*/packed")):
            await asyncio.sleep(0.05)

    await daemon.kill()
    await supernode.kill()
    await first
    read_before = source.bytes_sent
    supernode = await compressing(site)
    daemon = await site.daemon("host", supernode.address)
    ended = await dfget(source.url("/log"), "-O", site.path("out"), "--socket", daemon.socket)

    assert ended.code == 0
    assert site.path("out").read_bytes() == data
    assert ended.json["bytes_by"]["cache"] > 0
    assert source.bytes_sent - read_before <= len(data)


A_CODEC = """\
import bz2

class Plugin:
    codec_id = 200
    levels = (6, 7, 8, 9)

    def encode(self, plain, *, level):
        return bz2.compress(bytes(plain), level)

    def decode(self, body, *, plain_bytes):
        {decode}
        return bz2.decompress(bytes(body))
"""


async def test_a_plug_in_that_fails_on_one_host_is_put_aside_there(
    site: Site, source: FakeSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = words(4 * MIB)
    source.add("/log", data)
    good, bad = site.path("good"), site.path("bad")
    install(good, "damselfly.codecs", "bzip2", A_CODEC.format(decode="pass"))
    install(bad, "damselfly.codecs", "bzip2", A_CODEC.format(decode="raise OSError('out of luck')"))
    monkeypatch.setenv("PYTHONPATH", str(good))
    supernode = await compressing(site)
    one = await site.daemon("one", supernode.address)
    monkeypatch.setenv("PYTHONPATH", str(bad))
    other = await site.daemon("other", supernode.address)

    for name, daemon in (("a", one), ("b", other)):
        ended = await dfget(source.url("/log"), "-O", site.path(name), "--socket", daemon.socket)
        assert ended.code == 0, ended.err
        assert site.path(name).read_bytes() == data
    assert "out of luck" in other.log.read_text()
    assert "complaint" not in supernode.log.read_text()
