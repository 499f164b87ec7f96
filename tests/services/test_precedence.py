"""Guards `--priority`: what is urgent comes first on a host, whichever was asked for first."""

import asyncio
from pathlib import Path

from damselfly.core.downloading.sharing import Priority
from damselfly.services.hosting.peer_host import PeerHost
from damselfly.wire.local_messages import DownloadRequest
from fakes.source import FakeSource, random_bytes
from services.hosts import a_host, a_supernode

SIZE = 12 << 20


async def get(host: PeerHost, url: str, priority: Priority, ended: list[str]) -> None:
    request = DownloadRequest(url=url, priority=priority)
    finished = await host.downloads.get(request, lambda _: None)
    assert finished.size_bytes == SIZE
    ended.append(priority)


async def test_urgent_download_overtakes_one_that_began_before_it(tmp_path: Path) -> None:
    ended: list[str] = []
    async with FakeSource() as source, a_supernode(tmp_path) as supernode:
        source.add("/model", random_bytes(SIZE, seed=1))
        source.add("/patch", random_bytes(SIZE, seed=2))
        async with a_host(tmp_path, "ann", supernode) as ann:
            for path in ("/model", "/patch"):  # it is warm: nobody waits for the source
                await get(ann, source.url(path), Priority.NORMAL, [])
        async with (
            a_host(tmp_path, "bob", supernode, download_rate_bytes_per_s=12e6) as bob,
            asyncio.TaskGroup() as tasks,
        ):
            tasks.create_task(get(bob, source.url("/model"), Priority.LOW, ended))
            await asyncio.sleep(0.2)
            tasks.create_task(get(bob, source.url("/patch"), Priority.HIGH, ended))

    assert ended == ["high", "low"]
