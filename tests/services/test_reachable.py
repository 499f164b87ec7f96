"""Guards hosts behind a NAT: they get everything, and nobody is sent to them."""

from pathlib import Path

from damselfly.wire.local_messages import DownloadFinished, DownloadRequest
from fakes.source import FakeSource, random_bytes
from services.hosts import a_host, a_supernode

DATA = random_bytes(3_000_000, seed=29)


async def test_host_that_cannot_be_reached_gets_all_and_is_never_asked(tmp_path: Path) -> None:
    async with FakeSource() as source, a_supernode(tmp_path) as supernode:
        source.add("/f", DATA)
        request = DownloadRequest(url=source.url("/f"), can_use_source=False)
        finished: dict[str, DownloadFinished] = {}
        async with (
            a_host(tmp_path, "ann", supernode, reachable=False) as ann,
            a_host(tmp_path, "bob", supernode) as bob,
            a_host(tmp_path, "cid", supernode, reachable=False) as cid,
        ):
            for name, host in (("ann", ann), ("bob", bob), ("cid", cid)):
                finished[name] = await host.downloads.get(request, lambda _: None)
                assert Path(finished[name].content_path).read_bytes() == DATA
            asked = ann.metrics.registry.get_sample_value("damselfly_bytes_sent_total")

    assert asked == 0
    assert finished["bob"].bytes_by.peers == 0  # only ann had it, who cannot give
    assert finished["cid"].bytes_by.peers > 0  # it asked bob
