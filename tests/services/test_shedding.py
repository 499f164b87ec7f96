"""Guards what becomes of load that is too much: hosts come later, and nobody runs to the source."""

import asyncio
import time
from itertools import pairwise
from pathlib import Path

from damselfly.core.scheduling.shedding import LATE_S
from damselfly.wire.local_messages import DownloadRequest
from fakes.busy_supernode import BusySuperNode
from fakes.source import FakeSource
from services.hosts import a_host, a_supernode

DATA = b"short content"


async def test_a_host_that_is_refused_a_session_comes_when_it_was_told_to(tmp_path: Path) -> None:
    busy = BusySuperNode(DATA, refusals=2)
    async with FakeSource() as source, busy.serving() as supernode:
        source.add("/file", DATA)
        async with a_host(tmp_path, "ann", supernode) as host:
            finished = await host.downloads.get(DownloadRequest(url=source.url("/file")), print)

    assert Path(finished.content_path).name
    assert finished.notes == ()
    assert source.count("GET") == 0
    assert [later - earlier >= 1.0 for earlier, later in pairwise(busy.asked_s)] == [True] * 2


async def test_a_join_that_is_put_off_is_made_again_after_the_time_told(tmp_path: Path) -> None:
    busy = BusySuperNode(DATA, busy_count=2, pause_s=0.3)
    async with FakeSource() as source, busy.serving() as supernode:
        source.add("/file", DATA)
        async with a_host(tmp_path, "ann", supernode) as host:
            finished = await host.downloads.get(DownloadRequest(url=source.url("/file")), print)

    assert finished.notes == ()
    assert source.count("GET") == 0
    assert [later - earlier >= 0.3 for earlier, later in pairwise(busy.joined_s)] == [True] * 2


async def test_a_supernode_that_is_late_puts_off_new_sessions(tmp_path: Path) -> None:
    answer = ""
    async with a_supernode(tmp_path) as address:
        for _ in range(5):  # the request must be looked at within 0.1 s after the stall
            reader, writer = await asyncio.open_connection(*address.split(":"))
            writer.write(b"GET /v1/session HTTP/1.1\r\nHost: x\r\n\r\n")
            time.sleep(LATE_S + 0.2)  # the stall is the point
            answer = (await reader.read(4096)).decode()
            writer.close()
            if answer.startswith("HTTP/1.1 503"):
                break

    assert answer.startswith("HTTP/1.1 503")
    assert "Retry-After: " in answer
    assert answer.endswith("s\n")
