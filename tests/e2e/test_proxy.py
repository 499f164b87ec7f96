"""The HTTP proxy of real daemons, used by curl as people use it."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import fakes.source
from e2e.processes import BIN, Ended, Running, Site, damselfly, run
from fakes.source import FakeSource, random_bytes

pytestmark = pytest.mark.slow

DATA = random_bytes(12_000_000, seed=11)
LOOPBACK_PEM = Path(fakes.source.__file__).parent / "tls" / "loopback.pem"


@pytest.fixture
async def secure() -> AsyncIterator[FakeSource]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(LOOPBACK_PEM)
    async with FakeSource(tls=context) as source:
        yield source


def settings(site: Site, rules: str) -> tuple[str, str]:
    """Return the flag of a settings file with rules."""
    path = site.path("settings.toml")
    trusted = f'ca_file = "{LOOPBACK_PEM}"\n'
    path.write_text(f"[supernode.source]\n{trusted}[daemon.source]\n{trusted}{rules}")
    return "--config", str(path)


async def curl(daemon: Running, url: str, *flags: str) -> Ended:
    told = ("--silent", "--show-error", "--write-out", "%{http_code} %{http_connect}")
    where = ("--proxy", f"http://{daemon.proxy}", "--noproxy", "")
    return await run("curl", *told, *where, *flags, url)


async def test_https_through_two_daemons_reads_the_source_once(
    site: Site, secure: FakeSource
) -> None:
    secure.add("/models/a", DATA)
    port = secure.url("").rpartition(":")[2]
    rule = (
        f'[[daemon.proxy.rules]]\naction = "p2p"\nhost = "127.0.0.1:{port}"\npath = "/models/**"\n'
    )
    flags = settings(site, rule)
    supernode = await site.supernode(*flags)

    for name in ("ann", "bob"):
        daemon = await site.daemon(name, supernode.address, *flags)
        shown = await damselfly("ca", "show", "--data", str(site.path(name)))
        site.path(f"{name}.crt").write_text(shown.out)
        trust = ("--cacert", str(site.path(f"{name}.crt")), "--output", str(site.path("got")))
        got = await curl(daemon, secure.url("/models/a"), *trust)

        assert got.out == "200 200"
        assert site.path("got").read_bytes() == DATA

    assert sum(request.method == "GET" for request in secure.requests) == 1


async def test_without_rules_of_its_own_a_daemon_changes_nothing(
    site: Site, secure: FakeSource
) -> None:
    secure.add("/file", DATA)
    port = secure.url("").rpartition(":")[2]
    flags = settings(site, f"[daemon.proxy]\nconnect_ports = [{port}]\n")
    daemon = await site.daemon("ann", "", *flags)

    trust = ("--cacert", str(LOOPBACK_PEM), "--output", str(site.path("got")))
    got = await curl(daemon, secure.url("/file"), *trust)

    assert got.out == "200 200"
    assert site.path("got").read_bytes() == DATA


async def test_a_daemon_keeps_its_ca_over_a_restart(site: Site) -> None:
    for _ in range(2):
        daemon = await site.daemon("ann", "")
        assert await daemon.stop() == 0
    first = site.path("ann") / "ca" / "ca.pem"
    written = first.stat().st_mtime_ns
    daemon = await site.daemon("ann", "")
    await daemon.stop()

    assert first.stat().st_mtime_ns == written
    assert (site.path("ann") / "ca" / "ca.key").stat().st_mode & 0o777 == 0o600


async def test_a_daemon_that_would_be_an_open_proxy_does_not_start(site: Site) -> None:
    command = (str(BIN / "damselfly"), "daemon", "--listen", "127.0.0.1:0")
    where = ("--data", str(site.path("ann")), "--proxy", "0.0.0.0:0")

    ended = await run(*command, *where)

    assert ended.code == 2
    assert "everybody could use it" in ended.err
    assert len(ended.err.strip().splitlines()) == 1


async def test_a_daemon_with_tunnels_ends_at_once(site: Site, secure: FakeSource) -> None:
    port = secure.url("").rpartition(":")[2]
    daemon = await site.daemon(
        "ann", "", *settings(site, f"[daemon.proxy]\nconnect_ports = [{port}]\n")
    )
    reader, writer = await asyncio.open_connection(*daemon.proxy.split(":"))
    writer.write(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")

    async with asyncio.timeout(2):  # less than a server waits for its requests
        assert await daemon.stop() == 0
    with contextlib.suppress(ConnectionError):
        assert await reader.read() == b""
    writer.close()


async def test_explain_reads_the_settings_of_the_daemon(site: Site) -> None:
    flags = settings(site, '[[daemon.proxy.rules]]\naction = "p2p"\nhost = "hub.example"\n')

    told = await damselfly("proxy", "explain", "https://hub.example/x", *flags)

    assert told.code == 0
    assert "CONNECT is opened: rule 1 names hub.example" in told.out
    assert told.out.splitlines()[-1] == "so it is p2p: rule 1 says p2p"
